//! The conformance suite on every backend and store that there is here.

use host_test::conformance::{CASES, Subject};

use crate::setup::run;

/// Runs one case of the suite.
fn check(name: &str, subject: impl Future<Output = Subject>) {
    let case = CASES.iter().find(|case| case.name == name);
    let case = case.expect("a case of the suite");
    run(async {
        if let Err(failure) = case.run(&subject.await).await {
            panic!("{failure}");
        }
    });
}

/// A test for each case, on the `subject` of the module around it.
macro_rules! tests {
    ($($module:ident::$name:ident)*) => {
        $(
            #[test]
            fn $name() {
                super::check(stringify!($name), subject());
            }
        )*
    };
}

mod azurite {
    use crate::setup::azblob_on_azurite as subject;

    host_test::for_each_case!(tests);
}

mod blob_store {
    use host_test::conformance::Subject;

    use crate::setup;

    async fn subject() -> Subject {
        setup::azblob_on(&setup::blob_store()).await
    }

    host_test::for_each_case!(tests);
}

mod plain {
    use host_test::conformance::Subject;

    use crate::setup;

    async fn subject() -> Subject {
        setup::http_on(&setup::blob_store()).await
    }

    host_test::for_each_case!(tests);
}
