//! Tables: rows that stand for themselves.

use trainyard_data::{BatchOptions, Buffer, DType, Dataset, Missing, Scaling, SplitName, Task, Warning};

use crate::files::{TestFile, table};

fn opened(text: &str, edit: impl FnOnce(&mut trainyard_data::PrepareSpec), task: Task, target: &str) -> Dataset {
    let mut spec = table(task, target);
    spec.scaling = Scaling::None;
    edit(&mut spec);
    Dataset::open(&TestFile::csv(text).path(), &spec).unwrap()
}

const PUMPS: &str = "\
site,pressure,flow,state
A,1,10,ok
B,2,20,worn
A,3,30,ok
A,4,40,ok
B,5,50,broken
";

#[test]
fn features_are_all_other_numbers_and_text_is_reported() {
    let data = opened(PUMPS, |_| {}, Task::Regression, "flow");
    assert_eq!(data.schema().features, ["pressure"]);
    assert_eq!(data.schema().targets, ["flow"]);
    assert_eq!(
        data.warnings(),
        [Warning::TextLeftOut {
            columns: vec!["site".into(), "state".into()]
        }]
    );
    let x = data.features(SplitName::Train);
    assert_eq!((x.rows, x.columns, x.values), (4, 1, vec![1.0, 2.0, 3.0, 4.0]));
    assert_eq!(data.targets(SplitName::Test).values, [50.0]);
}

#[test]
fn several_targets_come_side_by_side_in_the_order_asked_for() {
    let data = opened(
        "a,b,c\n1,2,3\n4,5,6\n",
        |spec| {
            spec.target = vec!["c".into(), "a".into()];
            spec.split = "1/0/0".parse().unwrap();
        },
        Task::Regression,
        "",
    );
    assert_eq!(data.targets(SplitName::Train).values, [3.0, 1.0, 6.0, 4.0]);
    assert_eq!(data.column(SplitName::Train, "a").unwrap(), [1.0, 4.0]);
}

#[test]
fn classes_are_indices_of_labels() {
    let data = opened(
        PUMPS,
        |spec| spec.split = "0.8/0.2".parse().unwrap(),
        Task::Classification,
        "state",
    );
    assert_eq!(data.schema().classes, ["ok", "worn", "broken"]);
    assert_eq!(data.classes(SplitName::Train).unwrap(), [0, 1, 0, 0]);
    assert_eq!(data.classes(SplitName::Test).unwrap(), [2]);
    assert!(
        data.warnings()
            .contains(&Warning::UnseenClass { class: "broken".into() })
    );
    let options = BatchOptions {
        batch_size: 3,
        shuffle: None,
        drop_last: false,
        dtype: DType::F32,
    };
    let batch = data.batches(SplitName::Train, options).unwrap().next().unwrap();
    assert_eq!((batch.y, batch.y_shape), (Some(Buffer::U32(vec![0, 1, 0])), vec![3]));
    assert_eq!(
        (batch.x, batch.x_shape),
        (Buffer::F32(vec![1.0, 10.0, 2.0, 20.0, 3.0, 30.0]), vec![3, 2])
    );
}

#[test]
fn incomplete_rows_are_dropped_within_their_part() {
    let text = "x,y\n1,1\n,2\n3,3\n4,\n5,5\n6,6\n,7\n8,8\n9,9\n10,10\n";
    let data = opened(
        text,
        |spec| spec.split = "6/2/2".parse().unwrap(),
        Task::Regression,
        "y",
    );
    let y = |split| data.targets(split).values;
    assert_eq!(y(SplitName::Train), [1.0, 3.0, 5.0, 6.0]);
    assert_eq!(y(SplitName::Validation), [8.0]);
    assert_eq!(y(SplitName::Test), [9.0, 10.0]);
    assert!(data.warnings().contains(&Warning::RowsDropped { rows: 3 }));
    assert_eq!(data.target_rows(SplitName::Validation, 0).unwrap(), [7]);
    assert_eq!(data.summary().missing, 3);
}

#[test]
fn missing_features_can_be_filled_but_a_missing_target_never_is() {
    let text = "x,y\n1,1\n,2\n3,3\n4,\n100,5\n";
    let edit = |spec: &mut trainyard_data::PrepareSpec| {
        spec.missing = Missing::Mean;
        spec.split = "4/0/1".parse().unwrap();
    };
    let data = opened(text, edit, Task::Regression, "y");
    assert_eq!(data.column(SplitName::Train, "x").unwrap(), [1.0, 8.0 / 3.0, 3.0]);
}

#[test]
fn a_part_without_a_complete_row_is_an_error() {
    let file = TestFile::csv("x,y\n1,1\n2,\n");
    let mut spec = table(Task::Regression, "y");
    spec.split = "1/1".parse().unwrap();
    let message = file.refusal(&spec);
    assert!(
        message.starts_with("machine.csv: the test part has 1 of 2 rows, but none of them is complete"),
        "{message}"
    );
}

#[test]
fn a_table_may_repeat_times_and_be_out_of_order_unless_time_was_asked_for() {
    let text = "date,x,y\n2024-01-02,1,1\n2024-01-01,2,2\n2024-01-01,3,3\n";
    let data = opened(text, |spec| spec.split = "2/1".parse().unwrap(), Task::Regression, "y");
    assert_eq!(data.targets(SplitName::Train).values, [1.0, 2.0]);
    let mut spec = table(Task::Regression, "y");
    spec.time = Some("date".into());
    assert!(TestFile::csv(text).refusal(&spec).contains("not in order of time"));
    let sorted = opened(
        text,
        |spec| {
            spec.sort = true;
            spec.split = "2/1".parse().unwrap();
        },
        Task::Regression,
        "y",
    );
    assert_eq!(sorted.targets(SplitName::Train).values, [2.0, 3.0]);
}

#[test]
fn test_rows_never_change_what_is_trained_on() {
    let trained_on = |tail: &str| {
        let text = format!("x,z,c\n1,,b\n2,5,a\n,6,b\n4,7,a\n{tail}");
        let batches = Missing::ALL
            .iter()
            .filter(|&&missing| missing != Missing::Error)
            .map(|&missing| {
                let edit = |spec: &mut trainyard_data::PrepareSpec| {
                    (spec.missing, spec.scaling, spec.split) = (missing, Scaling::Standard, "4/2/2".parse().unwrap());
                };
                let data = opened(&text, edit, Task::Classification, "c");
                let samples: Vec<usize> = (0..data.len(SplitName::Train)).collect();
                data.gather(SplitName::Train, &samples, DType::F64).unwrap()
            });
        batches.collect::<Vec<_>>()
    };
    let usual = trained_on("5,8,a\n6,9,b\n5,8,a\n6,9,b\n");
    assert_eq!(usual, trained_on("1e9,-1e9,a0\n1,1,0zzz\n5,8,a\n6,9,b\n"));
    assert_eq!(usual, trained_on("5,,a\n6,9,a\n6,9,\n6,9,a\n"));
}
