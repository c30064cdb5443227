//! Whom TLS trusts. Certificate authorities are looked for when the first
//! request needs them: what goes over plain http, and what sends no request at
//! all, works on a system that has none.

use rustls::ClientConfig;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

/// Reads certificates in PEM.
pub(super) fn read_pem(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    read.map_err(|error| error.to_string())
}

/// TLS that trusts nobody, for what goes without.
pub(super) fn trusting_nobody() -> ClientConfig {
    config(RootCertStore::empty())
}

fn config(roots: RootCertStore) -> ClientConfig {
    let mut config = ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config
}

/// Has a client trust the system's authorities and these. An error says what to
/// do.
#[cfg(not(all(unix, not(target_vendor = "apple"), not(target_os = "android"))))]
pub(super) fn trusting(
    builder: reqwest::ClientBuilder,
    extra: &[CertificateDer<'static>],
) -> Result<reqwest::ClientBuilder, String> {
    let certificates = extra.iter().map(|der| reqwest::Certificate::from_der(der));
    let certificates: Result<Vec<_>, _> = certificates.collect();
    let certificates = certificates.map_err(|error| error.to_string())?;
    Ok(builder.tls_certs_merge(certificates))
}

#[cfg(all(unix, not(target_vendor = "apple"), not(target_os = "android")))]
pub(super) use of_files::trusting;

/// Where a system keeps its authorities in files.
#[cfg(all(unix, not(target_vendor = "apple"), not(target_os = "android")))]
mod of_files {
    use std::env;
    use std::path::{Path, PathBuf};

    use rustls_native_certs::{CertificateResult, load_certs_from_paths};

    use super::*;

    /// Name files in the place of the system's.
    const FILE: &str = "SSL_CERT_FILE";
    const FOLDERS: &str = "SSL_CERT_DIR";

    /// Has a client trust the system's authorities and these. An error says
    /// what to do.
    pub(in crate::http) fn trusting(
        builder: reqwest::ClientBuilder,
        extra: &[CertificateDer<'static>],
    ) -> Result<reqwest::ClientBuilder, String> {
        let variable = |name: &str| env::var_os(name).filter(|value| !value.is_empty());
        let file = variable(FILE).map(PathBuf::from);
        let folders: Option<Vec<_>> =
            variable(FOLDERS).map(|folders| env::split_paths(&folders).collect());
        let named = named(file.as_deref(), folders.as_deref())?;
        let roots = store(extra, named.unwrap_or_else(of_system))?;
        Ok(builder.tls_backend_preconfigured(config(roots)))
    }

    /// All that is trusted, which must be somebody. What of a system's own
    /// cannot be read is passed over, as everywhere.
    pub(super) fn store(
        extra: &[CertificateDer<'static>],
        certificates: Vec<CertificateDer<'static>>,
    ) -> Result<RootCertStore, String> {
        let mut roots = RootCertStore::empty();
        for certificate in extra {
            let added = roots.add(certificate.clone());
            added.map_err(|error| format!("an additional certificate authority: {error}"))?;
        }
        roots.add_parsable_certificates(certificates);
        if roots.is_empty() {
            return Err(
                "this system has no certificate authorities, so no server can be trusted over \
                 https: install the package `ca-certificates`, or name a file of them with \
                 --ca-file or SSL_CERT_FILE"
                    .to_owned(),
            );
        }
        Ok(roots)
    }

    /// The authorities of the files that the user's variables name; none where
    /// they name none.
    pub(super) fn named(
        file: Option<&Path>,
        folders: Option<&[PathBuf]>,
    ) -> Result<Option<Vec<CertificateDer<'static>>>, String> {
        let mut certificates = Vec::new();
        if let Some(file) = file {
            let loaded = load_certs_from_paths(Some(file), None);
            if loaded.certs.is_empty() {
                return Err(nothing_in(FILE, file, &loaded));
            }
            certificates.extend(loaded.certs);
        }
        for folder in folders.unwrap_or_default() {
            let loaded = load_certs_from_paths(None, Some(folder));
            if loaded.certs.is_empty() && !loaded.errors.is_empty() && certificates.is_empty() {
                return Err(nothing_in(FOLDERS, folder, &loaded));
            }
            certificates.extend(loaded.certs);
        }
        if let (true, Some([folder, ..])) = (certificates.is_empty(), folders) {
            return Err(nothing_in(FOLDERS, folder, &CertificateResult::default()));
        }
        Ok((!certificates.is_empty()).then_some(certificates))
    }

    fn nothing_in(variable: &str, path: &Path, loaded: &CertificateResult) -> String {
        let why = match loaded.errors.first() {
            Some(error) => format!("cannot be read ({error})"),
            None => "holds no certificate in PEM form".to_owned(),
        };
        format!(
            "{variable} names {}, which {why}: name a file of certificate authorities, or unset \
             the variable to use the system's",
            path.display()
        )
    }

    /// The system's own, as many as there are.
    fn of_system() -> Vec<CertificateDer<'static>> {
        let places = openssl_probe::probe();
        let mut certificates = load_certs_from_paths(places.cert_file.as_deref(), None).certs;
        for folder in &places.cert_dir {
            certificates.extend(load_certs_from_paths(None, Some(folder)).certs);
        }
        certificates.sort_unstable_by(|one, other| one.as_ref().cmp(other.as_ref()));
        certificates.dedup();
        certificates
    }
}

#[cfg(all(test, unix, not(target_vendor = "apple"), not(target_os = "android")))]
mod tests {
    use super::of_files::{named, store};

    #[test]
    fn a_system_without_authorities_is_told_which_package_has_them() {
        let error = store(&[], Vec::new()).expect_err("nobody to trust");
        for part in ["`ca-certificates`", "--ca-file", "SSL_CERT_FILE"] {
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn a_variable_that_names_no_authorities_is_named_with_its_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).expect("a file");
            path
        };
        let missing = folder.path().join("missing.pem");
        for (file, why) in [
            (path("empty.pem", ""), "no certificate"),
            (path("text.pem", "hello"), "no certificate"),
            (missing.clone(), "cannot be read"),
        ] {
            let error = named(Some(&file), None).expect_err("an error");
            let shown = file.display().to_string();
            for part in ["SSL_CERT_FILE", &shown, why] {
                assert!(error.contains(part), "{error}");
            }
        }
        let error = named(None, Some(&[missing])).expect_err("an error");
        assert!(error.contains("SSL_CERT_DIR"), "{error}");
        assert_eq!(named(None, None), Ok(None));
    }
}
