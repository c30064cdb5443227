use super::*;
use crate::memory::MemoryStore;

fn source(store: &Arc<MemoryStore>) -> Arc<Source> {
    Source::new("test".to_owned(), Arc::clone(store) as _, Stats::new(None))
}

fn blobs(count: u8) -> Vec<Digest> {
    (0..count).map(|n| Digest::of(&[n])).collect()
}

#[tokio::test(start_paused = true)]
async fn questions_that_come_together_are_asked_together() {
    let store = MemoryStore::new();
    store.refuse_listing();
    store.insert(&b"there"[..]);
    let source = source(&store);
    let asked = blobs(40);
    let there = Digest::of(b"there");
    let questions = asked.iter().chain([&there]).map(|blob| source.has(blob));
    let answers = futures::future::try_join_all(questions)
        .await
        .expect("answers");
    assert_eq!(answers.iter().flatten().count(), 1);
    assert_eq!(store.calls().find, 1);
    assert!(source.has(&there).await.expect("an answer").is_some());
    assert_eq!(store.calls().find, 1, "what was answered is remembered");
}

#[tokio::test(start_paused = true)]
async fn a_listing_answers_what_was_never_asked() {
    let store = MemoryStore::new();
    let there = store.insert(&b"there"[..]);
    let source = source(&store);
    source
        .list()
        .expect("a listing")
        .changed()
        .await
        .unwrap_err();
    assert!(source.has(&there).await.expect("an answer").is_some());
    for blob in blobs(100) {
        assert!(source.has(&blob).await.expect("an answer").is_none());
    }
    assert_eq!((store.calls().find, store.calls().list), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn memories_end() {
    let store = MemoryStore::new();
    let there = store.insert(&b"there"[..]);
    let source = source(&store);
    assert!(source.has(&there).await.expect("an answer").is_some());
    store.remove_all();
    assert!(source.has(&there).await.expect("an answer").is_some());
    tokio::time::advance(PRESENT_FOR).await;
    assert!(source.has(&there).await.expect("an answer").is_none());
}

#[tokio::test(start_paused = true)]
async fn what_a_manifest_promises_is_looked_for_again() {
    let store = MemoryStore::new();
    let there = store.insert(&b"there"[..]);
    let source = source(&store);
    let find = async || {
        let found = source.find_all(std::slice::from_ref(&there)).await;
        found.expect("an answer")[&there].is_some()
    };
    assert!(find().await && find().await);
    assert_eq!(store.calls().find, 1);
    store.remove_all();
    tokio::time::advance(CERTAIN_FOR).await;
    assert!(!find().await);
}

#[tokio::test(start_paused = true)]
async fn a_spoiled_layer_is_not_there_until_it_is_stored_again() {
    let store = MemoryStore::new();
    let there = store.insert(&b"there"[..]);
    let source = source(&store);
    source.learn_spoiled(&there, "its digest is another");
    assert!(source.has(&there).await.expect("an answer").is_none());
    assert!(source.find(&there).await.expect("an answer").is_none());
    let found = source.find_all(std::slice::from_ref(&there)).await;
    assert_eq!(found.expect("an answer")[&there], None);
    source.learn_stored(&there, 5);
    assert!(source.has(&there).await.expect("an answer").is_some());
}

#[tokio::test(start_paused = true)]
async fn where_one_layer_is_gone_all_others_are_looked_for_again() {
    let store = MemoryStore::new();
    let layers = [&b"one"[..], b"two", b"three"].map(|bytes| store.insert(bytes));
    let source = source(&store);
    source.find_all(&layers).await.expect("an answer");
    store.remove_all();
    source.learn_lost(&layers[0]);
    let found = source.find_all(&layers).await.expect("an answer");
    assert!(found.values().all(Option::is_none), "{found:?}");
}

#[tokio::test(start_paused = true)]
async fn a_damaged_layer_is_removed_from_the_store_that_is_written_to() {
    for (is_target, is_damaged, stays) in [
        (true, true, false),
        (true, false, true),
        (false, true, true),
    ] {
        let store = MemoryStore::new();
        let there = store.insert(&b"there"[..]);
        if is_damaged {
            store.spoil(&there, &b"their"[..]);
        }
        let arc = Arc::clone(&store) as _;
        let source = match is_target {
            true => Source::target("test".to_owned(), arc, Stats::new(None)),
            false => Source::new("test".to_owned(), arc, Stats::new(None)),
        };
        source.learn_spoiled(&there, "its digest is another");
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(
            store.get(&there).is_some(),
            stays,
            "{is_target} {is_damaged}"
        );
        // What was only spoiled on its way is good.
        assert_eq!(source.is_spoiled(&there), is_damaged);
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_fails_is_asked_again() {
    let store = MemoryStore::new();
    store.refuse_listing();
    store.fail(Some("it is down"));
    let source = source(&store);
    let blob = Digest::of(b"x");
    let error = source.has(&blob).await.expect_err("down").to_string();
    assert!(error.contains("it is down"), "{error}");
    store.fail(None);
    assert!(source.has(&blob).await.expect("an answer").is_none());
}
