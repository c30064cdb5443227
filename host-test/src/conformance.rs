//! What the contract promises, as a list of cases that any backend must pass
//! on any store.
//!
//! A case knows nothing but the contract: it opens caches, and looks at what
//! comes back. The one convention beyond the contract is BuildKit's: the
//! attribute `name` holds the names of a cache, split at `;`. Every case makes
//! up its own layers and names, so that cases can run side by side on one
//! store, and leaves what it stored behind.
//!
//! A few cases need to reach into the store past the backend ([`BackDoor`]), a
//! store that can list or touch, or contract 0.2; where there is none they end
//! with [`NotRun`].

mod inventory;
mod layers;
mod losses;
mod names;
mod order;
mod reading;
mod refusals;
mod round_trips;
mod sizes;
mod together;

use std::sync::{Arc, Mutex, PoisonError};

use build_cache_host::{
    Cache, Content, Contract, Digest, Event, Grants, Imported, Loaded, Manifest, OpenOptions,
    Plugin,
};
use bytes::Bytes;
use futures::future::LocalBoxFuture;
use futures::stream::{self, StreamExt, TryStreamExt};

use crate::failure::ensure;
use crate::sample::Sample;
use crate::store::BackDoor;
use crate::{Failure, NotRun, Outcome};

/// How many layers are read at once.
const READS_AT_ONCE: usize = 16;

/// A backend on a store.
#[derive(Clone)]
pub struct Subject {
    plugin: Plugin,
    attributes: Vec<(String, String)>,
    grants: Grants,
    back_door: Option<BackDoor>,
}

/// One thing that a backend must do.
#[derive(Clone, Copy)]
pub struct Case {
    /// A sentence, with `_` for spaces.
    pub name: &'static str,
    run: for<'a> fn(&'a Subject) -> LocalBoxFuture<'a, Outcome>,
}

/// Calls a macro with the name of every case and of its module.
#[macro_export]
macro_rules! for_each_case {
    ($macro:ident) => {
        $macro! {
            round_trips::a_cache_comes_back_as_it_was_stored
            round_trips::a_cache_without_layers_comes_back
            round_trips::parents_times_and_records_come_back_unchanged
            round_trips::every_name_gets_the_cache
            round_trips::names_may_hold_odd_characters
            round_trips::a_name_that_the_store_does_not_have_is_left_out
            round_trips::a_name_that_is_written_again_holds_the_new_cache
            round_trips::an_export_that_is_repeated_sends_no_layer
            sizes::layers_of_odd_sizes_come_back
            sizes::hundreds_of_layers_come_back
            losses::a_lost_layer_is_named_and_stored_again
            losses::a_layer_of_another_size_is_missing_until_it_is_stored_again
            losses::a_layer_that_cannot_be_read_is_missing_until_it_is_stored_again
            together::overlapping_exports_from_several_instances_all_succeed
            together::calls_of_every_kind_run_side_by_side_in_one_instance
            together::a_layer_can_be_read_many_times_at_once
            reading::any_range_of_a_layer_can_be_read
            reading::a_layer_that_the_store_does_not_have_is_none
            reading::a_stream_that_nobody_reads_to_its_end_does_no_harm
            inventory::what_was_stored_is_listed_and_can_be_removed
            inventory::what_has_changed_since_it_was_listed_is_not_removed
            layers::single_layers_are_stored_found_and_read
            layers::a_single_layer_that_is_there_is_not_sent_again
            layers::layers_are_found_in_the_order_asked_for
            layers::a_single_layer_of_another_size_is_replaced
            layers::a_single_layer_that_breaks_off_is_not_stored
            layers::one_layer_can_be_stored_many_times_at_once
            layers::a_touched_layer_is_newer_and_otherwise_the_same
            layers::events_tell_which_call_they_are_of
            names::what_is_published_can_be_loaded_and_imported
            names::a_manifest_is_not_published_before_its_layers
            names::a_manifest_is_not_published_over_a_layer_of_another_size
            names::names_as_arguments_are_taken_as_they_are
            names::a_name_that_nobody_published_is_none
            names::the_configured_names_are_those_of_the_attributes
            names::a_name_is_published_only_where_it_is_absent
            names::a_name_is_published_only_over_the_version_that_was_loaded
            names::of_writers_on_one_version_only_one_succeeds
            names::publishing_touches_layers_that_are_old
            inventory::what_has_an_odd_name_is_listed_and_can_be_removed
            refusals::content_that_fails_fails_the_export
            refusals::content_that_ends_too_soon_fails_the_export
            refusals::an_unknown_attribute_is_refused_by_name
            order::a_name_is_written_after_all_its_layers
            order::a_reader_never_sees_a_cache_without_its_layers
        }
    };
}

macro_rules! table {
    ($($module:ident::$name:ident)*) => {
        /// Every case.
        pub const CASES: &[Case] = &[
            $(Case {
                name: stringify!($name),
                run: |subject| Box::pin($module::$name(subject)),
            }),*
        ];
    };
}
for_each_case!(table);

impl Case {
    /// Runs it.
    ///
    /// # Errors
    /// What the backend did otherwise than it should.
    pub async fn run(&self, subject: &Subject) -> Outcome {
        (self.run)(subject).await
    }
}

/// Events as a cache emitted them, in order.
#[derive(Clone, Default)]
pub struct Heard(Arc<Mutex<Vec<Event>>>);

impl Heard {
    /// All so far.
    pub fn events(&self) -> Vec<Event> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn add(&self, event: Event) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(event);
    }
}

impl Subject {
    /// A backend, with the attributes that name the store and a space in it:
    /// all but `name`.
    pub fn new(plugin: Plugin, attributes: Vec<(String, String)>) -> Self {
        Self {
            grants: Grants::from_environment(plugin.description()),
            plugin,
            attributes,
            back_door: None,
        }
    }

    /// The same, with a way into the store past the backend.
    #[must_use]
    pub fn with_back_door(self, back_door: BackDoor) -> Self {
        Self {
            back_door: Some(back_door),
            ..self
        }
    }

    /// The same, with one attribute more.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.attributes.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The way into the store past the backend.
    ///
    /// # Errors
    /// There is none.
    pub fn back_door(&self) -> Outcome<&BackDoor> {
        Ok(self.back_door.as_ref().ok_or(NotRun::NoBackDoor)?)
    }

    /// Whether the backend's version of the contract has single layers, and names
    /// as arguments.
    fn speaks_of_single_layers(&self) -> Outcome {
        match self.plugin.contract() >= Contract::V0_2 {
            true => Ok(()),
            false => Err(NotRun::OldContract.into()),
        }
    }

    /// Whether the backend takes this attribute.
    fn takes(&self, attribute: &str) -> bool {
        let mut known = self.plugin.description().attributes.iter();
        known.any(|known| known.name == attribute)
    }

    /// Opens the cache of some names in an instance of its own.
    ///
    /// # Errors
    /// What the backend says.
    pub async fn open(&self, names: &[&str], content: impl Content + 'static) -> Outcome<Cache> {
        Ok(self.open_and_hear(names, content).await?.0)
    }

    /// Opens a cache to read from.
    ///
    /// # Errors
    /// What the backend says.
    pub async fn open_to_read(&self, names: &[&str]) -> Outcome<Cache> {
        self.open(names, Sample::default()).await
    }

    /// Opens a cache, and hears its events.
    ///
    /// # Errors
    /// What the backend says.
    pub async fn open_and_hear(
        &self,
        names: &[&str],
        content: impl Content + 'static,
    ) -> Outcome<(Cache, Heard)> {
        let heard = Heard::default();
        let mut attributes = self.attributes.clone();
        attributes.push(("name".to_owned(), names.join(";")));
        let options = OpenOptions {
            grants: self.grants.clone(),
            content: Some(Arc::new(content)),
            identity: None,
            on_event: Some(Arc::new({
                let heard = heard.clone();
                move |event| heard.add(event)
            })),
        };
        Ok((self.plugin.open(&attributes, options).await?, heard))
    }

    /// Stores a cache under one name.
    ///
    /// # Errors
    /// What the backend says.
    pub async fn store(&self, name: &str, sample: &Sample) -> Outcome {
        let cache = self.open(&[name], sample.clone()).await?;
        cache.export(&sample.manifest).await?;
        Ok(())
    }
}

/// Loads the one name of a cache.
///
/// # Errors
/// The name is not there, or another one is, or it cannot be used.
pub async fn load(cache: &Cache) -> Outcome<Loaded> {
    let mut imported = cache.import().await?;
    match (imported.pop(), imported.is_empty()) {
        (Some(Imported { outcome, .. }), true) => Ok(outcome?),
        (None, _) => Err(Failure::Broken("the name is not there".to_owned())),
        (Some(_), false) => Err(Failure::Broken("one name gave two caches".to_owned())),
    }
}

/// A layer's bytes as the backend streams them; none where the store has no
/// such layer.
///
/// # Errors
/// The call or the stream failed.
pub async fn read(
    cache: &Cache,
    blob: &Digest,
    offset: u64,
    length: Option<u64>,
) -> Outcome<Option<Vec<u8>>> {
    let Some(chunks) = cache.read(blob, offset, length).await? else {
        return Ok(None);
    };
    let chunks: Vec<Bytes> = chunks.try_collect().await?;
    Ok(Some(chunks.concat()))
}

/// Reads every layer, and compares it with its digest.
///
/// # Errors
/// A layer that is not what it should be.
pub async fn check_layers(cache: &Cache, manifest: &Manifest) -> Outcome {
    stream::iter(manifest.layers.iter().map(|layer| async move {
        let bytes = read(cache, &layer.blob, 0, None).await?;
        let found = bytes.map(|bytes| Digest::of(&bytes));
        ensure!(
            found.as_ref() == Some(&layer.blob),
            "the layer {} of {} bytes came back as {found:?}",
            layer.blob,
            layer.size
        );
        Ok(())
    }))
    .buffer_unordered(READS_AT_ONCE)
    .try_collect()
    .await
}

/// Checks that a cache holds this manifest and every layer of it.
///
/// # Errors
/// What is otherwise.
pub async fn check_holds(cache: &Cache, manifest: &Manifest) -> Outcome {
    let loaded = load(cache).await?;
    check_same(&loaded.manifest, manifest)?;
    ensure!(
        loaded.missing.is_empty(),
        "layers are said to be missing: {:?}",
        loaded.missing
    );
    check_layers(cache, manifest).await
}

/// Compares two manifests, layer by layer.
fn check_same(found: &Manifest, expected: &Manifest) -> Outcome {
    ensure!(
        found.layers.len() == expected.layers.len(),
        "there are {} layers instead of {}",
        found.layers.len(),
        expected.layers.len()
    );
    for (number, (found, expected)) in found.layers.iter().zip(&expected.layers).enumerate() {
        ensure!(
            found == expected,
            "layer {number} came back as {found:?} instead of {expected:?}"
        );
    }
    ensure!(
        found.records == expected.records,
        "the records came back as {} instead of {}",
        found.records,
        expected.records
    );
    Ok(())
}

/// Whether these are the digests expected, each once, in any order.
fn is_same_set(found: &[Digest], expected: &[Digest]) -> bool {
    found.len() == expected.len() && expected.iter().all(|blob| found.contains(blob))
}
