//! Scales are those of scikit-learn; `tests/reference/scalers.py` says how its figures were made.

use serde_json::Value;
use trainyard_data::{Column, Dataset, Frame, PrepareSpec, Preprocessing, Scaling, SplitName, Task, Values};

fn numbers(value: &Value) -> Vec<f64> {
    value
        .as_array()
        .unwrap()
        .iter()
        .map(|v| v.as_f64().unwrap_or(f64::NAN))
        .collect()
}

fn assert_close(found: f64, expected: f64, unit: f64, what: &str) {
    assert!(
        (found - expected).abs() <= 1e-12 * unit,
        "{what}: {found} is not {expected}"
    );
}

/// A table of one feature, all of it for training.
fn prepared(values: Vec<f64>, scaling: Scaling) -> Dataset {
    let y = (0..values.len()).map(|row| row as f64).collect();
    let column = |name: &str, values| Column {
        name: name.into(),
        values: Values::Numeric(values),
    };
    let mut spec = PrepareSpec::new(Task::Regression);
    (spec.scaling, spec.split, spec.target) = (scaling, "1/0/0".parse().unwrap(), vec!["y".into()]);
    Dataset::prepare(
        Frame::new("a.csv", vec![column("x", values), column("y", y)], None).unwrap(),
        &spec,
    )
    .unwrap()
}

#[test]
fn scaled_columns_are_those_of_scikit_learn() {
    let reference: Value = serde_json::from_str(include_str!("../reference/scalers.json")).unwrap();
    let cases = reference["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 27);
    for case in cases {
        let what = format!("{} {}", case["column"], case["scaling"]);
        let data = prepared(
            numbers(&case["values"]),
            case["scaling"].as_str().unwrap().parse().unwrap(),
        );
        let fitted = &data.preprocessing().features[0];
        let (center, scale) = (case["center"].as_f64().unwrap(), case["scale"].as_f64().unwrap());
        assert_close(fitted.center, center, center.abs().max(scale), &what);
        assert_close(fitted.scale, scale, scale, &what);
        let found = data.column(SplitName::Train, "x").unwrap();
        let expected: Vec<f64> = numbers(&case["scaled"]).into_iter().filter(|v| !v.is_nan()).collect();
        assert_eq!(found.len(), expected.len());
        // A centre of c with a spread of s cannot be subtracted more exactly than its last bit, c/s times larger.
        let unit = (center / scale).abs().max(1.0);
        for (found, expected) in found.iter().zip(expected) {
            assert_close(*found, expected, unit.max(expected.abs()), &what);
        }
    }
}

#[test]
fn a_scaled_target_comes_back_in_its_own_units() {
    for scaling in Scaling::ALL {
        let data = prepared(vec![3.0, -1.0, 4.0, 1.0, 5.0], *scaling);
        let mut y = data.targets(SplitName::Train).values;
        data.unscale_targets(&mut y).unwrap();
        y.iter()
            .enumerate()
            .for_each(|(row, y)| assert_close(*y, row as f64, 5.0, scaling.as_str()));
    }
}

#[test]
fn the_state_survives_json_to_the_last_bit() {
    let data = prepared(vec![0.1, 0.2, 0.7, 1.0 / 3.0, 1e-17], Scaling::Standard);
    let json = serde_json::to_string(data.preprocessing()).unwrap();
    assert_eq!(
        serde_json::from_str::<Preprocessing>(&json).unwrap(),
        *data.preprocessing()
    );
}

#[test]
fn a_constant_column_is_a_warning_that_names_it() {
    let data = prepared(vec![5.0; 4], Scaling::Standard);
    let warnings: Vec<String> = data.warnings().iter().map(ToString::to_string).collect();
    assert_eq!(
        warnings,
        [r#"column "x" is constant in the training rows, so nothing can be learned from it"#]
    );
    assert_eq!(data.column(SplitName::Train, "x").unwrap(), [0.0; 4]);
}
