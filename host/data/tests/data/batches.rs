//! Batches: every sample once, in a known order, whatever the thread behind them does.

use trainyard_data::{Batch, BatchOptions, Buffer, DType, Dataset, Scaling, SplitName, Task};

use crate::files::{TestFile, forecast, hourly, table};

fn options(batch_size: usize) -> BatchOptions {
    BatchOptions {
        batch_size,
        shuffle: None,
        drop_last: false,
        dtype: DType::F64,
    }
}

/// A table whose only feature is the row's number.
fn numbered(rows: usize, columns: usize) -> Dataset {
    let mut text = (0..columns).map(|c| format!("c{c},")).collect::<String>() + "y\n";
    for row in 0..rows {
        text += &(0..columns)
            .map(|c| format!("{},", row * columns + c))
            .collect::<String>();
        text += &format!("{row}\n");
    }
    let mut spec = table(Task::Regression, "y");
    (spec.scaling, spec.split) = (Scaling::None, "1/0/0".parse().unwrap());
    Dataset::open(&TestFile::csv(text).path(), &spec).unwrap()
}

fn targets(batches: impl Iterator<Item = Batch>) -> Vec<f64> {
    batches.flat_map(|batch| batch.y.unwrap().to_f64()).collect()
}

#[test]
fn every_sample_comes_once_and_the_last_batch_is_short() {
    let data = numbered(10, 1);
    let sizes: Vec<usize> = data
        .batches(SplitName::Train, options(4))
        .unwrap()
        .map(|batch| batch.size)
        .collect();
    assert_eq!(sizes, [4, 4, 2]);
    assert_eq!(
        targets(data.batches(SplitName::Train, options(4)).unwrap()),
        (0..10).map(f64::from).collect::<Vec<_>>()
    );
}

#[test]
fn a_short_last_batch_can_be_left_out() {
    let data = numbered(10, 1);
    let full = |batch_size| {
        let options = BatchOptions {
            drop_last: true,
            ..options(batch_size)
        };
        data.batches(SplitName::Train, options)
            .unwrap()
            .map(|batch| batch.size)
            .collect::<Vec<_>>()
    };
    assert_eq!(full(4), [4, 4]);
    assert_eq!(full(5), [5, 5]);
    assert_eq!(full(11), [0; 0]);
}

#[test]
fn the_number_of_batches_is_known_beforehand() {
    let data = numbered(1_000, 100);
    for size in [1, 7, 300, 5_000] {
        let mut batches = data.batches(SplitName::Train, options(size)).unwrap();
        for left in (0..1_000_usize.div_ceil(size)).rev() {
            assert_eq!(batches.len(), left + 1);
            assert!(batches.next().is_some());
        }
        assert_eq!((batches.len(), batches.next()), (0, None));
        assert_eq!(batches.next(), None);
    }
}

#[test]
fn shuffling_follows_from_seed_and_epoch_alone() {
    let data = numbered(100, 1);
    let order = |seed, epoch, size| {
        targets(
            data.batches(
                SplitName::Train,
                BatchOptions {
                    shuffle: Some((seed, epoch)),
                    ..options(size)
                },
            )
            .unwrap(),
        )
    };
    assert_eq!(
        order(1, 0, 10),
        order(1, 0, 33),
        "the batch size does not change the order"
    );
    assert_ne!(order(1, 0, 10), order(1, 1, 10));
    assert_ne!(order(1, 0, 10), order(2, 0, 10));
    let mut sorted = order(1, 0, 10);
    sorted.sort_by(f64::total_cmp);
    assert_eq!(sorted, (0..100).map(f64::from).collect::<Vec<_>>());
    // A change of these numbers would change the model that a seed gives.
    assert_eq!(
        order(1, 0, 10)[..5],
        trainyard_data::permutation(100, 1, 0)[..5]
            .iter()
            .map(|&n| n as f64)
            .collect::<Vec<_>>()
    );
}

#[test]
fn batches_from_the_thread_are_those_gathered_directly() {
    let data = numbered(2_000, 50);
    let shuffle = Some((3, 1));
    let order = trainyard_data::permutation(2_000, 3, 1);
    let batches: Vec<Batch> = data
        .batches(
            SplitName::Train,
            BatchOptions {
                shuffle,
                ..options(256)
            },
        )
        .unwrap()
        .collect();
    assert!(
        data.batch_bytes(256, DType::F64) > 64 * 1024,
        "large enough for a thread"
    );
    for (batch, samples) in batches.iter().zip(order.chunks(256)) {
        assert_eq!(*batch, data.gather(SplitName::Train, samples, DType::F64).unwrap());
    }
}

#[test]
fn a_pass_can_be_given_up_at_any_batch() {
    let data = numbered(2_000, 50);
    for taken in [0, 1, 3] {
        let mut batches = data.batches(SplitName::Train, options(256)).unwrap();
        batches.by_ref().take(taken).for_each(drop);
        drop(batches);
    }
    assert_eq!(data.batches(SplitName::Train, options(256)).unwrap().count(), 8);
}

#[test]
fn f32_batches_hold_the_same_numbers() {
    let data = Dataset::open(&hourly(60, |_, _| None).path(), &forecast(4, 2)).unwrap();
    let samples = [3, 0, 7];
    let wide = data.gather(SplitName::Train, &samples, DType::F64).unwrap();
    let narrow = data.gather(SplitName::Train, &samples, DType::F32).unwrap();
    let Buffer::F32(values) = &narrow.x else {
        panic!("{:?}", narrow.x)
    };
    assert_eq!(*values, wide.x.to_f64().iter().map(|&v| v as f32).collect::<Vec<_>>());
    assert_eq!(wide.x_shape, [3, 4, 2]);
    assert_eq!(wide.y_shape, [3, 2, 2]);
    let bytes = |batch: &Batch, each| (batch.x.len() + batch.y.as_ref().unwrap().len()) * each;
    assert_eq!(data.batch_bytes(3, DType::F32), bytes(&narrow, 4));
    assert_eq!(data.batch_bytes(3, DType::F64), bytes(&wide, 8));
}

#[test]
fn an_empty_split_has_no_batches_and_a_batch_of_nothing_is_refused() {
    let data = numbered(10, 1);
    assert_eq!(data.batches(SplitName::Test, options(4)).unwrap().count(), 0);
    assert_eq!(
        data.batches(SplitName::Train, options(0)).unwrap_err().code(),
        "data.bad-request"
    );
    let error = data.gather(SplitName::Train, &[0, 10], DType::F32).unwrap_err();
    assert_eq!(
        error.to_string(),
        "sample 10 of the train split does not exist: it has 10, counted from 0"
    );
}
