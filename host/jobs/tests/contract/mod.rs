//! What every adapter of a port has to keep to: suites that know the ports alone. A file per port, or a folder where one
//! would grow long; `embedded.rs` runs them for the adapters that need nothing installed, `postgres.rs` and `redis.rs` for
//! those with a real server.

#![allow(dead_code, reason = "each test file runs the suites of its own adapters")]

pub mod artifacts;
pub mod broker;
pub mod feed;
pub mod fixtures;
pub mod properties;
pub mod store;

/// Makes a module of tests, one for each suite named. Each gets the field `port` of what a function of the test file makes.
#[macro_export]
macro_rules! contract {
    ($name:ident, $($suite:ident)::+, of $make:ident: $($test:ident),+ $(,)?) => {
        mod $name {
            use $crate::$($suite)::+ as suite;

            $(
                #[tokio::test(flavor = "multi_thread")]
                async fn $test() {
                    // None, with words, where a server that it needs is not installed.
                    let Some(adapter) = $crate::$make().await else { return };
                    suite::$test(&adapter.port).await;
                }
            )+
        }
    };
}

/// The tests of a `Store` that a function makes.
#[macro_export]
macro_rules! store_contract {
    ($make:ident) => {
        contract! {
            models, contract::store::models, of $make:
            a_new_model_is_a_draft_and_comes_back_as_it_was_made,
            numbers_of_models_are_never_given_twice,
            a_patch_changes_what_it_names_and_nothing_else,
            a_model_under_way_is_neither_changed_nor_deleted,
            models_are_listed_newest_first_by_status_name_and_plugin,
            models_are_counted_by_status,
            pages_hold_every_model_once_while_models_are_added,
            the_last_page_says_that_it_is_the_last,
            deleting_a_model_takes_its_runs_and_their_series,
            a_name_that_is_sql_stays_a_name,
        }
        contract! {
            runs, contract::store::runs, of $make:
            a_submit_writes_the_run_and_its_model,
            a_submit_forgets_the_last_run_but_not_its_result,
            of_many_submits_at_once_one_wins,
            a_run_needs_a_model_and_a_name_of_its_own,
            pages_hold_every_run_once_while_runs_are_added,
            what_is_not_over_is_found_oldest_first,
            progress_keeps_to_its_state_and_only_grows,
            training_begins_at_five_percent_and_another_attempt_at_none,
            use_in_all_is_written_when_a_run_is_over,
            a_checkpoint_outlives_its_attempt,
            a_series_comes_back_in_order_of_name_and_step,
            a_series_holds_finite_numbers_alone,
            a_series_needs_a_run,
        }
        contract! {
            sweeps, contract::store::sweeps, of $make:
            trials_are_runs_that_the_model_knows_nothing_of,
            trials_wait_in_the_queue_like_other_runs,
            trials_are_judged_by_what_they_told,
            where_nothing_is_told_results_count,
            a_model_gets_the_result_of_a_trial,
            a_sweep_ends_once,
            a_sweep_is_all_there_or_not_at_all,
            a_model_with_trials_under_way_is_not_deleted,
            workers_are_what_they_last_said,
        }
        contract! {
            lifecycle, contract::store::lifecycle, of $make:
            every_change_in_every_state_is_as_the_state_machine_says,
            a_good_end_is_written_in_full,
            a_bad_end_keeps_the_last_result,
            a_claim_fences_whoever_had_the_run,
            whoever_gave_a_run_back_cannot_write_it,
            a_run_that_is_put_back_counts_as_taken,
            progress_and_checkpoints_of_a_run_that_is_over_are_refused,
            of_many_claims_at_once_the_last_alone_can_write,
            a_run_that_was_taken_three_times_is_given_up,
            a_run_that_waits_is_stopped_at_once,
            a_run_that_is_worked_on_is_only_marked,
            a_run_to_stop_is_not_taken_again,
            what_is_over_cannot_be_stopped,
            a_stopped_run_leaves_its_model_exactly_as_it_was,
            what_is_not_there_is_not_found,
        }
        contract! {
            catalog, contract::store::catalog, of $make:
            a_plugin_comes_back_as_it_was_kept,
            the_same_plugin_again_is_fine_and_another_content_is_not,
            the_newest_plugin_is_so_by_semantic_version,
            a_plugin_that_is_used_stays,
            of_many_users_of_a_plugin_some_are_named,
            a_data_set_comes_back_as_it_was_kept,
            pages_hold_every_data_set_once_while_some_are_added,
            a_cursor_that_no_page_gave_out_gives_nothing,
            a_data_set_that_is_used_stays,
        }
        contract! {
            ledger, contract::store::ledger, of $make:
            a_token_comes_back_with_its_hash,
            a_revoked_token_stays_listed_with_the_time,
            a_request_with_a_key_is_answered_once,
            a_key_without_an_answer_is_free_again,
            of_many_requests_with_one_key_at_once_one_is_new,
            the_audit_log_is_read_newest_first,
            a_store_that_works_says_so,
        }
    };
}

/// The tests of a `Broker` that a function makes.
#[macro_export]
macro_rules! broker_contract {
    ($make:ident) => {
        contract! {
            the_queue, contract::broker, of $make:
            runs_are_taken_in_the_order_of_submits,
            a_worker_takes_from_its_queues_alone,
            eight_workers_at_once_never_take_the_same_run,
            a_run_whose_lease_ran_out_goes_to_another_worker,
            a_lost_run_comes_before_those_that_wait,
            a_renewed_lease_holds,
            an_acknowledged_run_is_gone,
            a_run_given_back_is_taken_at_once,
            only_a_run_that_nobody_has_is_withdrawn,
            a_run_is_queued_once,
            depth_counts_a_lost_run_as_waiting,
            what_is_given_up_is_kept_until_somebody_takes_it,
            jobs_that_ask_for_labels_go_to_workers_that_have_them,
            waiting_ends_when_a_run_comes,
            waiting_ends_when_a_lease_runs_out,
            waiting_ends_when_nothing_comes,
            a_signal_reaches_everyone_who_listens,
        }
    };
}

/// The tests of a `Feed` that a function makes.
#[macro_export]
macro_rules! feed_contract {
    ($make:ident) => {
        contract! {
            the_feed, contract::feed, of $make:
            events_come_in_the_order_they_were_published,
            models_do_not_hear_each_other,
            reading_goes_on_after_a_number,
            a_waiting_reader_wakes,
            a_reader_that_stopped_waiting_loses_nothing,
            a_slow_reader_holds_up_nobody_and_is_told_of_the_gap_once,
            a_number_from_before_what_is_remembered_gives_a_gap,
            a_talkative_log_pushes_nothing_else_out,
            every_later_loss_is_a_gap_of_its_own,
            a_number_from_the_future_gives_a_gap_and_then_everything,
            the_last_lines_of_the_log_come_oldest_first,
            a_forgotten_model_has_no_past_and_its_readers_end,
            many_publish_at_once_and_every_number_is_given_once,
        }
    };
}

/// The tests of `Artifacts` that a function makes.
#[macro_export]
macro_rules! artifacts_contract {
    ($make:ident) => {
        contract! {
            files, contract::artifacts, of $make:
            what_is_stored_is_read_in_every_way,
            a_large_file_is_stored_and_stays_where_it_was,
            a_file_that_cannot_be_read_leaves_nothing,
            storing_again_replaces,
            a_reader_keeps_what_it_began_with,
            whoever_looks_while_others_store_sees_whole_files,
            what_is_not_there_is_not_found,
            a_key_that_is_none_is_refused_everywhere,
            files_are_listed_by_folder_in_order,
            deleting_takes_what_was_named_and_no_more,
            a_store_that_works_says_so_and_leaves_no_trace,
        }
    };
}
