//! The stage of the mutations: faults that are planted in the real code, and the test that must notice each.
//!
//! A fault is a call of `staging::mutated`, which is `false` at compile time unless the feature `staging` is on.

use std::{process::Command, time::Duration};

use anyhow::{Result, bail, ensure};

use super::{Run, test_binaries::pass};
use crate::{
    servers::{Postgres, Release},
    shell,
    shell::Log,
};

const VARIABLE: &str = "BERTH_MUTATION";
/// The variable that makes a release of the tests of roll-outs bad.
const FLAW: &str = "BERTH_FLAW";
const LIMIT: Duration = Duration::from_mins(2);

/// Where a fault shows: what locks do, only where there are many writers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum On {
    Sqlite,
    Postgres,
}

/// A fault, what it is, and the test that fails with it.
#[derive(Debug)]
struct Mutation {
    name: &'static str,
    about: &'static str,
    on: On,
    caught_by: &'static str,
}

const fn sqlite(name: &'static str, about: &'static str, caught_by: &'static str) -> Mutation {
    Mutation {
        name,
        about,
        on: On::Sqlite,
        caught_by,
    }
}

const fn postgres(name: &'static str, about: &'static str, caught_by: &'static str) -> Mutation {
    Mutation {
        on: On::Postgres,
        ..sqlite(name, about, caught_by)
    }
}

/// All of them; the tests are those of `registry/tests/it`.
const MUTATIONS: &[Mutation] = &[
    // Uploads.
    sqlite(
        "key_reused",
        "two uploads have one object key",
        "interleavings::uploads::a_late_deletion_of_the_old_object_leaves_the_blob_that_came_back",
    ),
    sqlite(
        "ended_session_finished",
        "an upload is finished after its session expired",
        "interleavings::uploads::an_upload_whose_session_expires_before_it_is_committed_becomes_no_blob",
    ),
    sqlite(
        "answer_before_commit",
        "an upload is answered and not committed",
        "interleavings::uploads::of_two_uploads_the_second_keeps_the_blob_of_the_first_and_buries_its_own",
    ),
    sqlite(
        "digest_not_compared",
        "bytes are not compared with their digest",
        "uploads::content_that_is_not_its_digest_is_refused_and_the_session_ends",
    ),
    sqlite(
        "file_not_synced",
        "no fsync of the file",
        "interleavings::uploads::file_and_folder_are_synced_before_the_commit",
    ),
    sqlite(
        "folder_not_synced",
        "no fsync of the folder",
        "interleavings::uploads::file_and_folder_are_synced_before_the_commit",
    ),
    sqlite(
        "not_buried.duplicate",
        "the object of a duplicate upload is forgotten",
        "interleavings::uploads::of_two_uploads_the_second_keeps_the_blob_of_the_first_and_buries_its_own",
    ),
    sqlite(
        "not_buried.upload_expired",
        "the object of an expired upload is forgotten",
        "interleavings::uploads::an_upload_whose_session_expires_before_it_is_committed_becomes_no_blob",
    ),
    sqlite(
        "not_buried.upload_cancelled",
        "the object of a cancelled upload is forgotten",
        "gc::reaping::the_object_of_an_ended_upload_waits_for_late_writers_whatever_the_settings_say",
    ),
    // Promises.
    sqlite(
        "upload_not_promised",
        "an upload or a mount gives no lease",
        "gc::leases::a_mounted_blob_stays_while_the_manifest_is_on_its_way",
    ),
    sqlite(
        "promise_not_recorded",
        "a HEAD gives no lease",
        "gc::leases::a_head_keeps_a_blob_that_nothing_names_for_the_length_of_a_lease",
    ),
    postgres(
        "promise_not_locked",
        "a lease without a lock on the link",
        "interleavings::promises::a_promise_waits_for_a_collector_that_holds_the_link_and_is_not_made",
    ),
    sqlite(
        "existence_cached",
        "a promise rests on an earlier look",
        "interleavings::promises::a_blob_that_goes_between_look_and_promise_is_not_promised",
    ),
    sqlite(
        "mount_not_rechecked",
        "a mount rests on an earlier look",
        "interleavings::promises::a_blob_that_goes_between_look_and_mount_is_not_mounted",
    ),
    postgres(
        "link_not_locked",
        "a link that is there is not held",
        "interleavings::promises::a_mount_of_what_the_repository_has_waits_for_a_collector_that_takes_it",
    ),
    // Manifests.
    sqlite(
        "references_not_checked",
        "a manifest is stored without what it names",
        "interleavings::uploads::a_manifest_of_a_blob_whose_upload_has_not_committed_is_refused",
    ),
    sqlite(
        "config_skipped",
        "an image's config is no reference",
        "interleavings::uploads::a_late_deletion_of_the_old_object_leaves_the_blob_that_came_back",
    ),
    sqlite(
        "layers_skipped",
        "an image's layers are no references",
        "gc::collecting::a_blob_stays_as_long_as_one_manifest_of_one_repository_names_it",
    ),
    sqlite(
        "children_skipped",
        "an index's children are no references",
        "gc::collecting::an_index_keeps_what_it_lists_through_every_level_and_lets_all_of_it_go",
    ),
    sqlite(
        "subject_skipped",
        "a subject is not recorded",
        "gc::collecting::what_refers_to_an_image_lives_and_goes_with_it_and_does_not_keep_it",
    ),
    // Reviews.
    sqlite(
        "review_forgotten.blob_upload",
        "a blob that nothing names is not reviewed",
        "interleavings::uploads::the_empty_blob_goes_and_comes_back_like_any_other",
    ),
    sqlite(
        "review_forgotten.manifest_upload",
        "an untagged push is not reviewed",
        "gc::collecting::an_index_and_its_child_in_one_batch_both_go",
    ),
    sqlite(
        "review_forgotten.tag_switch",
        "what a moved tag pointed to is not reviewed",
        "interleavings::manifests::a_tag_that_is_back_when_the_collector_looks_keeps_its_image",
    ),
    sqlite(
        "review_forgotten.tag_delete",
        "what a deleted tag pointed to is not reviewed",
        "interleavings::manifests::a_child_that_is_tagged_while_its_index_is_deleted_stays",
    ),
    sqlite(
        "review_forgotten.manifest_delete",
        "what a deleted manifest named is not reviewed",
        "deletion::a_deleted_manifest_leaves_the_list_of_its_subject_and_keeps_its_own_referrers",
    ),
    sqlite(
        "review_forgotten.manifest_list_delete",
        "what a deleted index listed is not reviewed",
        "deletion::a_deleted_index_puts_its_children_up_for_review",
    ),
    sqlite(
        "review_forgotten.blob_unlink",
        "a blob that a repository gave up is not reviewed",
        "deletion::a_blob_is_deleted_from_one_repository_only_and_can_come_back",
    ),
    sqlite(
        "review_forgotten_by_collector.manifest_delete",
        "what a collected manifest named is not reviewed",
        "interleavings::uploads::the_empty_blob_goes_and_comes_back_like_any_other",
    ),
    sqlite(
        "review_forgotten_by_collector.manifest_list_delete",
        "what a collected index listed is not reviewed",
        "gc::collecting::an_index_keeps_what_it_lists_through_every_level_and_lets_all_of_it_go",
    ),
    sqlite(
        "review_forgotten_by_collector.blob_unlink",
        "a blob whose link was collected is not reviewed",
        "interleavings::uploads::the_empty_blob_goes_and_comes_back_like_any_other",
    ),
    // The collector.
    postgres(
        "lock_skipped",
        "the collector does not lock",
        "interleavings::promises::a_manifest_that_comes_between_look_and_deletion_waits_and_is_refused",
    ),
    postgres(
        "look_before_lock",
        "the collector looks, then locks",
        "interleavings::promises::a_promise_made_before_the_lock_is_seen_after_it",
    ),
    sqlite(
        "lease_not_checked",
        "the collector does not look at leases",
        "interleavings::promises::a_client_that_was_told_of_a_blob_finds_it_after_its_last_manifest_is_collected",
    ),
    sqlite(
        "leased_review_dropped",
        "a review that met a lease is over",
        "interleavings::promises::a_promise_that_is_forgotten_lets_the_blob_go",
    ),
    sqlite(
        "not_seen.tag",
        "the collector does not see tags, and the foreign key stops it",
        "interleavings::manifests::a_tag_that_is_being_made_keeps_its_manifest",
    ),
    sqlite(
        "not_seen.parent",
        "the collector does not see indexes, and the foreign key stops it",
        "interleavings::manifests::an_index_that_has_seen_its_child_keeps_it",
    ),
    sqlite(
        "not_seen.subject",
        "the collector does not see subjects",
        "gc::collecting::what_refers_to_an_image_lives_and_goes_with_it_and_does_not_keep_it",
    ),
    sqlite(
        "untagged_not_kept",
        "untagged manifests go although the settings keep them",
        "gc::collecting::untagged_manifests_stay_where_the_settings_say_so",
    ),
    sqlite(
        "reviews_ended_last",
        "reviews end after the removal that asks for them again",
        "gc::collecting::an_index_and_its_child_in_one_batch_both_go",
    ),
    sqlite(
        "budget_ignored",
        "the budget of the hour does not count",
        "gc::limits::the_budget_of_an_hour_stops_all_replicas_and_the_next_hour_goes_on",
    ),
    // Objects.
    sqlite(
        "object_before_row",
        "the object is deleted before its row",
        "interleavings::uploads::a_collector_that_dies_before_its_commit_leaves_the_blob_whole",
    ),
    sqlite(
        "blob_not_buried",
        "a collected blob leaves no tombstone",
        "interleavings::uploads::the_empty_blob_goes_and_comes_back_like_any_other",
    ),
    sqlite(
        "quarantine_ignored",
        "a tombstone does not wait for lagging copies",
        "interleavings::rollbacks::rows_that_come_back_with_a_lagging_copy_still_have_their_objects",
    ),
    sqlite(
        "not_before_ignored",
        "the reaper does not wait for a tombstone's time",
        "gc::reaping::the_object_of_an_ended_upload_waits_for_late_writers_whatever_the_settings_say",
    ),
    sqlite(
        "tombstone_before_object",
        "the tombstone goes before its object",
        "interleavings::uploads::an_object_whose_reaper_died_is_deleted_by_the_next",
    ),
    sqlite(
        "failed_deletion_forgotten",
        "an object that the store did not delete is forgotten",
        "gc::reaping::an_object_that_the_store_does_not_delete_is_tried_again_later_and_the_others_go",
    ),
];

pub(super) fn mutations(run: &Run, log: &Log) -> Result<()> {
    let server = Postgres::start(&run.cache, Release::Newest, std::net::Ipv4Addr::LOCALHOST.into(), log)?;
    let url = server.url();
    pass_without(run, &url, log)?;
    let mut survivors = Vec::new();
    for mutation in MUTATIONS {
        let mut command = tests(run, mutation.on, &url, log)?;
        command
            .args(["--exact", mutation.caught_by])
            .env(VARIABLE, mutation.name);
        log.note(&format!("{}: {}", mutation.name, mutation.about))?;
        let caught = shell::run(&mut command, log, LIMIT).is_err();
        let test = mutation.caught_by.rsplit("::").next().unwrap_or_default();
        let verdict = if caught { "caught by" } else { "SURVIVES" };
        run.report(format!("{}: {}; {verdict} {test}", mutation.name, mutation.about));
        if !caught {
            survivors.push(mutation.name);
        }
    }
    let caught = MUTATIONS.len() - survivors.len();
    run.report(format!("{caught} of {} caught", MUTATIONS.len()));
    ensure!(survivors.is_empty(), "not noticed: {}", survivors.join(", "));
    is_clean(run, log)
}

/// Every named test exists and passes where nothing is planted.
fn pass_without(run: &Run, url: &str, log: &Log) -> Result<()> {
    for on in [On::Sqlite, On::Postgres] {
        let mut named: Vec<&str> = MUTATIONS
            .iter()
            .filter(|mutation| mutation.on == on)
            .map(|mutation| mutation.caught_by)
            .collect();
        named.sort_unstable();
        named.dedup();
        let mut command = tests(run, on, url, log)?;
        command.arg("--exact").args(&named);
        pass(command, log)?;
        let all = format!("test result: ok. {} passed", named.len());
        if !log.tail(5).contains(&all) {
            bail!("{} tests are named, and not so many ran", named.len());
        }
    }
    Ok(())
}

fn tests(run: &Run, on: On, url: &str, log: &Log) -> Result<Command> {
    let mut command = run.staged.integration("registry", "it", log)?.command();
    if on == On::Postgres {
        command.env("BERTH_TEST_DATABASE_URL", url);
    }
    Ok(command)
}

/// What others run has no faults to plant.
fn is_clean(run: &Run, log: &Log) -> Result<()> {
    let program = std::fs::read(run.tests.program("berth-registry", log)?)?;
    let has = |words: &str| program.windows(words.len()).any(|window| window == words.as_bytes());
    ensure!(has("BERTH_"), "the program does not know its settings");
    for variable in [VARIABLE, FLAW] {
        ensure!(!has(variable), "the program reads {variable}");
    }
    run.report(format!("the program itself does not know {VARIABLE} and {FLAW}"));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_mutations_have_one_name() {
        let names: std::collections::HashSet<&str> = MUTATIONS.iter().map(|mutation| mutation.name).collect();

        assert_eq!(names.len(), MUTATIONS.len());
    }
}
