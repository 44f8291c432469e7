//! What stands in `#[param(...)]`, checked and as JSON text.

use crate::json_string;
use syn::meta::ParseNestedMeta;
use syn::spanned::Spanned;
use syn::{Error, Expr, ExprLit, ExprRange, ExprUnary, Field, Lit, RangeLimits, Result, UnOp};

/// The attribute of one field.
#[derive(Default)]
pub struct Attribute {
    pub default: Option<Value>,
    pub minimum: Option<Value>,
    pub exclusive_minimum: Option<Value>,
    pub maximum: Option<Value>,
    pub exclusive_maximum: Option<Value>,
    pub choices: Option<Vec<Value>>,
    pub min_items: Option<Value>,
    pub max_items: Option<Value>,
}

/// A literal of the attribute.
#[derive(Clone)]
pub struct Value {
    pub kind: Kind,
    pub span: proc_macro2::Span,
}

#[derive(Clone, PartialEq)]
pub enum Kind {
    Integer(i128),
    Float(f64),
    Bool(bool),
    Text(String),
    List(Vec<Kind>),
}

impl Attribute {
    /// From all `#[param]` of a field.
    pub fn of(field: &Field) -> Result<Self> {
        let mut attribute = Self::default();
        for own in field.attrs.iter().filter(|own| own.path().is_ident("param")) {
            own.parse_nested_meta(|meta| attribute.read(meta))?;
        }
        Ok(attribute)
    }

    fn read(&mut self, meta: ParseNestedMeta<'_>) -> Result<()> {
        let Some(key) = meta.path.get_ident().map(ToString::to_string) else {
            return Err(meta.error("a name is expected, such as `default`"));
        };
        let value = || -> Result<Expr> { meta.value()?.parse() };
        match key.as_str() {
            "default" => set(&mut self.default, Value::parse(&value()?)?),
            "min" => set(&mut self.minimum, Value::number(&value()?)?),
            "max" => set(&mut self.maximum, Value::number(&value()?)?),
            "exclusive_min" => set(&mut self.exclusive_minimum, Value::number(&value()?)?),
            "exclusive_max" => set(&mut self.exclusive_maximum, Value::number(&value()?)?),
            "range" => {
                let range = range(value()?)?;
                if let Some(start) = &range.start {
                    set(&mut self.minimum, Value::number(start)?)?;
                }
                match (&range.end, range.limits) {
                    (Some(end), RangeLimits::Closed(_)) => set(&mut self.maximum, Value::number(end)?),
                    (Some(end), RangeLimits::HalfOpen(_)) => set(&mut self.exclusive_maximum, Value::number(end)?),
                    (None, _) => Ok(()),
                }
            }
            "length" => {
                let range = range(value()?)?;
                if let Some(start) = &range.start {
                    set(&mut self.min_items, Value::integer(start, 0)?)?;
                }
                if let Some(end) = &range.end {
                    // Without the end itself in `1..8`.
                    let open = matches!(range.limits, RangeLimits::HalfOpen(_));
                    set(&mut self.max_items, Value::integer(end, i128::from(open))?)?;
                }
                Ok(())
            }
            "choices" => {
                let expression = value()?;
                let list = Value::parse(&expression)?;
                match list.kind {
                    Kind::List(items) if !items.is_empty() => {
                        self.choices = Some(items.into_iter().map(|kind| Value { kind, span: list.span }).collect());
                        Ok(())
                    }
                    _ => Err(Error::new_spanned(expression, "a list is expected, such as [\"fast\", \"exact\"]")),
                }
            }
            other => Err(meta.error(format!(
                "there is no `{other}`; there are default, range, min, max, exclusive_min, exclusive_max, choices and length"
            ))),
        }
    }

    /// A default, alone or in a list, that the limits would refuse.
    pub fn check_default(&self) -> Result<()> {
        let Some(default) = &self.default else {
            return Ok(());
        };
        let values = match &default.kind {
            Kind::List(items) => items.as_slice(),
            kind => std::slice::from_ref(kind),
        };
        for value in values {
            let chosen = self
                .choices
                .as_ref()
                .is_none_or(|choices| choices.iter().any(|choice| choice.kind == *value));
            if !chosen {
                return Err(Error::new(default.span, "the default is not among the choices"));
            }
            let Some(number) = value.as_number() else { continue };
            let bound = |bound: &Option<Value>| bound.as_ref().and_then(|bound| bound.kind.as_number());
            let inside = bound(&self.minimum).is_none_or(|bound| number >= bound)
                && bound(&self.exclusive_minimum).is_none_or(|bound| number > bound)
                && bound(&self.maximum).is_none_or(|bound| number <= bound)
                && bound(&self.exclusive_maximum).is_none_or(|bound| number < bound);
            if !inside {
                return Err(Error::new(default.span, "the default is out of its own range"));
            }
        }
        if let Kind::List(items) = &default.kind {
            let bound = |bound: &Option<Value>| bound.as_ref().and_then(|bound| bound.kind.as_number());
            let length = items.len() as f64;
            if bound(&self.min_items).is_some_and(|bound| length < bound)
                || bound(&self.max_items).is_some_and(|bound| length > bound)
            {
                return Err(Error::new(
                    default.span,
                    "the default has not the length that is asked for",
                ));
            }
        }
        Ok(())
    }
}

fn set(place: &mut Option<Value>, value: Value) -> Result<()> {
    let span = value.span;
    match place.replace(value) {
        Some(_) => Err(Error::new(span, "this is said twice")),
        None => Ok(()),
    }
}

fn range(expression: Expr) -> Result<ExprRange> {
    match expression {
        Expr::Range(range) => Ok(range),
        other => Err(Error::new_spanned(other, "a range is expected, such as 1..=1000")),
    }
}

impl Value {
    fn parse(expression: &Expr) -> Result<Self> {
        Ok(Self {
            kind: Kind::parse(expression)?,
            span: expression.span(),
        })
    }

    fn number(expression: &Expr) -> Result<Self> {
        let value = Self::parse(expression)?;
        match value.kind.as_number() {
            Some(_) => Ok(value),
            None => Err(Error::new_spanned(expression, "a number is expected")),
        }
    }

    fn integer(expression: &Expr, less: i128) -> Result<Self> {
        match Self::parse(expression)? {
            Self {
                kind: Kind::Integer(integer),
                span,
            } if integer >= less => Ok(Self {
                kind: Kind::Integer(integer - less),
                span,
            }),
            _ => Err(Error::new_spanned(expression, "a count is expected, such as 8")),
        }
    }
}

impl Kind {
    fn parse(expression: &Expr) -> Result<Self> {
        match expression {
            Expr::Lit(ExprLit { lit, .. }) => match lit {
                Lit::Int(integer) => Ok(Kind::Integer(integer.base10_parse()?)),
                Lit::Float(float) => Ok(Kind::Float(float.base10_parse()?)),
                Lit::Bool(value) => Ok(Kind::Bool(value.value)),
                Lit::Str(text) => Ok(Kind::Text(text.value())),
                other => Err(Error::new_spanned(
                    other,
                    "a number, true, false, a text or a list is expected",
                )),
            },
            Expr::Unary(ExprUnary {
                op: UnOp::Neg(_), expr, ..
            }) => match Kind::parse(expr)? {
                Kind::Integer(integer) => Ok(Kind::Integer(-integer)),
                Kind::Float(float) => Ok(Kind::Float(-float)),
                _ => Err(Error::new_spanned(expression, "only a number can be negative")),
            },
            Expr::Array(array) => Ok(Kind::List(array.elems.iter().map(Kind::parse).collect::<Result<_>>()?)),
            other => Err(Error::new_spanned(
                other,
                "a number, true, false, a text or a list is expected, written out",
            )),
        }
    }

    pub fn as_number(&self) -> Option<f64> {
        match self {
            Kind::Integer(integer) => Some(*integer as f64),
            Kind::Float(float) => Some(*float),
            _ => None,
        }
    }

    /// As JSON.
    pub fn json(&self) -> String {
        match self {
            Kind::Integer(integer) => integer.to_string(),
            // Rust's shortest exact form is JSON too.
            Kind::Float(float) => format!("{float:?}"),
            Kind::Bool(value) => value.to_string(),
            Kind::Text(text) => json_string(text),
            Kind::List(items) => format!("[{}]", items.iter().map(Kind::json).collect::<Vec<_>>().join(",")),
        }
    }
}
