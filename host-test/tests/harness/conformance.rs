//! The conformance suite on every backend and store that there is here.

use host_test::conformance::{CASES, Subject};
use host_test::{Failure, NotRun};

use crate::setup::run;

/// Runs one case of the suite. `lacks` says what the subject does not have, and
/// has to say so.
fn check(name: &str, subject: impl Future<Output = Subject>, lacks: &[NotRun]) {
    let case = CASES.iter().find(|case| case.name == name);
    let case = case.expect("a case of the suite");
    run(async {
        match case.run(&subject.await).await {
            Ok(()) => {}
            Err(Failure::NotRun(why)) if lacks.contains(&why) => {}
            Err(failure) => panic!("{failure}"),
        }
    });
}

/// A test for each case, on the `subject` of the module around it.
macro_rules! tests {
    ($($module:ident::$name:ident)*) => {
        $(
            #[test]
            fn $name() {
                super::check(stringify!($name), subject(), LACKS);
            }
        )*
    };
}

mod azurite {
    use host_test::NotRun;

    use crate::setup::azblob_on_azurite as subject;

    const LACKS: &[NotRun] = &[];

    host_test::for_each_case!(tests);
}

mod blob_store {
    use host_test::NotRun;
    use host_test::conformance::Subject;

    use crate::setup;

    const LACKS: &[NotRun] = &[];

    async fn subject() -> Subject {
        setup::azblob_on(&setup::blob_store()).await
    }

    host_test::for_each_case!(tests);
}

mod plain {
    use host_test::NotRun;
    use host_test::conformance::Subject;

    use crate::setup;

    /// Plain HTTP knows no listing, no touching and no tiers.
    const LACKS: &[NotRun] = &[NotRun::NoListing, NotRun::NoTouch, NotRun::NoArchive];

    async fn subject() -> Subject {
        setup::http_on(&setup::blob_store()).await
    }

    host_test::for_each_case!(tests);
}
