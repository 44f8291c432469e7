//! `#[derive(Parameters)]`

use crate::attribute::{Attribute, Kind, Value};
use crate::json_string;
use proc_macro2::TokenStream;
use quote::quote;
use syn::{
    Data, DeriveInput, Error, Expr, ExprLit, Field, Fields, GenericArgument, Lit, Meta, PathArguments, Result, Type,
};

pub fn expand(input: &DeriveInput) -> Result<TokenStream> {
    let Data::Struct(body) = &input.data else {
        return Err(Error::new_spanned(
            &input.ident,
            "`Parameters` is for a struct; for an enum there is `Choice`",
        ));
    };
    let Fields::Named(fields) = &body.fields else {
        return Err(Error::new_spanned(
            &input.ident,
            "parameters need names: use a struct with named fields",
        ));
    };
    let (mut properties, mut members) = (Vec::new(), Vec::new());
    for field in &fields.named {
        let (property, member) = expand_field(field)?;
        properties.push(property);
        members.push(member);
    }
    let ident = &input.ident;
    Ok(quote! {
        impl ::trainyard_sdk::Parameters for #ident {
            fn schema() -> ::std::string::String {
                ::trainyard_sdk::parameters::object_schema(&[#(#properties),*])
            }
            fn from_json(json: &str) -> ::trainyard_sdk::Result<Self> {
                let object = ::trainyard_sdk::parameters::Object::parse(json)?;
                ::std::result::Result::Ok(Self { #(#members),* })
            }
        }
    })
}

/// The property for the schema, and the member that reads it.
fn expand_field(field: &Field) -> Result<(TokenStream, TokenStream)> {
    let (ident, ty) = (&field.ident, &field.ty);
    let name = ident.as_ref().map(ToString::to_string).unwrap_or_default();
    let name = name.trim_start_matches("r#");
    let description = description(field);
    if description.is_empty() {
        return Err(Error::new_spanned(
            field,
            format!("say what `{name}` means, in a `///` comment above it: users read it"),
        ));
    }

    let attribute = Attribute::of(field)?;
    let shape = Shape::of(ty);
    attribute.check_default()?;
    check_type(&attribute, &shape)?;
    let default = match &attribute.default {
        Some(default) => as_type(&default.kind, &shape).json(),
        None if matches!(shape, Shape::Option(_)) => "null".into(),
        None => {
            let message = format!("`{name}` needs a default, such as #[param(default = 10)], or the type Option");
            return Err(Error::new_spanned(field, message));
        }
    };

    let optional = |text: Option<String>| match text {
        Some(text) => quote!(::std::option::Option::Some(#text)),
        None => quote!(::std::option::Option::None),
    };
    let bound = |value: &Option<Value>| optional(value.as_ref().map(|value| value.kind.json()));
    let (minimum, exclusive_minimum) = (bound(&attribute.minimum), bound(&attribute.exclusive_minimum));
    let (maximum, exclusive_maximum) = (bound(&attribute.maximum), bound(&attribute.exclusive_maximum));
    let (min_items, max_items) = (bound(&attribute.min_items), bound(&attribute.max_items));
    let choices = attribute.choices.map(|choices| {
        let choices: Vec<String> = choices.iter().map(|choice| choice.kind.json()).collect();
        choices.join(",")
    });
    let choices = optional(choices);

    let (key, description) = (json_string(name), json_string(&description));
    let property = quote! {
        ::trainyard_sdk::parameters::Property {
            name: #key,
            description: #description,
            default: #default,
            limits: ::trainyard_sdk::parameters::Limits {
                minimum: #minimum,
                exclusive_minimum: #exclusive_minimum,
                maximum: #maximum,
                exclusive_maximum: #exclusive_maximum,
                choices: #choices,
                min_items: #min_items,
                max_items: #max_items,
            },
            schema: <#ty as ::trainyard_sdk::parameters::Parameter>::schema,
        }
    };
    Ok((property, quote!(#ident: object.get(#name, #default)?)))
}

/// The `///` lines above a field, as one paragraph.
fn description(field: &Field) -> String {
    let lines = field.attrs.iter().filter_map(|attribute| match &attribute.meta {
        Meta::NameValue(pair) if pair.path.is_ident("doc") => match &pair.value {
            Expr::Lit(ExprLit {
                lit: Lit::Str(text), ..
            }) => Some(text.value().trim().to_string()),
            _ => None,
        },
        _ => None,
    });
    lines.filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ")
}

/// What a type looks like from its name, as far as defaults and limits can be checked by it.
#[derive(Clone, Debug, PartialEq)]
enum Shape {
    Integer,
    Float,
    Bool,
    Text,
    List(Box<Shape>),
    Option(Box<Shape>),
    /// An enum with `Choice`, or an alias.
    Other,
}

impl Shape {
    fn of(ty: &Type) -> Self {
        let Type::Path(path) = ty else { return Shape::Other };
        let Some(last) = path.path.segments.last() else {
            return Shape::Other;
        };
        let inner = || match &last.arguments {
            PathArguments::AngleBracketed(arguments) => match arguments.args.first() {
                Some(GenericArgument::Type(inner)) => Box::new(Shape::of(inner)),
                _ => Box::new(Shape::Other),
            },
            _ => Box::new(Shape::Other),
        };
        match last.ident.to_string().as_str() {
            "u8" | "u16" | "u32" | "u64" | "usize" | "i32" | "i64" => Shape::Integer,
            "f32" | "f64" => Shape::Float,
            "bool" => Shape::Bool,
            "String" => Shape::Text,
            "Vec" => Shape::List(inner()),
            "Option" => Shape::Option(inner()),
            _ => Shape::Other,
        }
    }

    fn expected(&self) -> &'static str {
        match self {
            Shape::Integer => "an integer",
            Shape::Float => "a number",
            Shape::Bool => "true or false",
            Shape::Text | Shape::Other => "a text",
            Shape::List(_) => "a list",
            Shape::Option(inner) => inner.expected(),
        }
    }

    fn accepts(&self, kind: &Kind) -> bool {
        match (self, kind) {
            (Shape::Integer, Kind::Integer(_))
            | (Shape::Float, Kind::Float(_) | Kind::Integer(_))
            | (Shape::Bool, Kind::Bool(_))
            | (Shape::Text, Kind::Text(_))
            | (Shape::Other, _) => true,
            (Shape::List(inner), Kind::List(items)) => items.iter().all(|item| inner.accepts(item)),
            (Shape::Option(inner), kind) => inner.accepts(kind),
            _ => false,
        }
    }

    /// The type of the values that ranges and choices are about.
    fn leaf(&self) -> &Shape {
        match self {
            Shape::List(inner) | Shape::Option(inner) => inner.leaf(),
            own => own,
        }
    }
}

/// An integer where a number with a fraction is expected is written as one: 1.0, not 1.
fn as_type(kind: &Kind, shape: &Shape) -> Kind {
    match (kind, shape) {
        (Kind::Integer(integer), Shape::Float) => Kind::Float(*integer as f64),
        (Kind::List(items), Shape::List(inner)) => Kind::List(items.iter().map(|item| as_type(item, inner)).collect()),
        (kind, Shape::Option(inner)) => as_type(kind, inner),
        (kind, _) => kind.clone(),
    }
}

fn check_type(attribute: &Attribute, shape: &Shape) -> Result<()> {
    if let Some(default) = &attribute.default
        && !shape.accepts(&default.kind)
    {
        return Err(Error::new(default.span, format!("{} is expected", shape.expected())));
    }
    let leaf = shape.leaf();
    for choice in attribute.choices.iter().flatten() {
        if *leaf == Shape::Other {
            return Err(Error::new(choice.span, "the choices of an enum are its variants"));
        }
        if !leaf.accepts(&choice.kind) {
            return Err(Error::new(choice.span, format!("{} is expected", leaf.expected())));
        }
    }
    let bounds = [
        &attribute.minimum,
        &attribute.maximum,
        &attribute.exclusive_minimum,
        &attribute.exclusive_maximum,
    ];
    for bound in bounds.into_iter().flatten() {
        if !matches!(leaf, Shape::Integer | Shape::Float) {
            return Err(Error::new(bound.span, "only a number has a range"));
        }
        if !leaf.accepts(&bound.kind) {
            return Err(Error::new(bound.span, format!("{} is expected", leaf.expected())));
        }
    }
    for length in [&attribute.min_items, &attribute.max_items].into_iter().flatten() {
        if !matches!(shape, Shape::List(_)) {
            return Err(Error::new(length.span, "only a list has a length"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::expand;

    fn error(field: &str) -> String {
        let input = syn::parse_str(&format!("struct Settings {{ /// Text.\n {field} }}")).unwrap();
        expand(&input).unwrap_err().to_string()
    }

    #[test]
    fn a_mistake_in_an_attribute_is_told_in_words() {
        assert!(error("epochs: u32").contains("`epochs` needs a default"));
        assert!(error("#[param(defualt = 1)] epochs: u32").contains("there is no `defualt`; there are default, range"));
        assert!(error("#[param(default = 0, range = 1..=9)] epochs: u32").contains("out of its own range"));
        assert!(error("#[param(default = 1.0, range = 0.0..1.0)] rate: f64").contains("out of its own range"));
        assert!(error("#[param(default = [3, 0], min = 1)] hidden: Vec<u32>").contains("out of its own range"));
        assert!(error("#[param(default = 0.5)] epochs: u32").contains("an integer is expected"));
        assert!(error("#[param(default = 5)] name: String").contains("a text is expected"));
        assert!(error("#[param(default = \"a\", choices = [\"b\"])] name: String").contains("not among the choices"));
        assert!(error("#[param(default = true, min = 1)] deep: bool").contains("only a number has a range"));
        assert!(error("#[param(default = 1, length = 1..2)] epochs: u32").contains("only a list has a length"));
        assert!(error("#[param(default = [], length = 1..)] hidden: Vec<u32>").contains("the length"));
        assert!(error("#[param(default = 1, default = 2)] epochs: u32").contains("said twice"));
        assert!(error("#[param(default = LIMIT)] epochs: u32").contains("written out"));
        assert!(error("#[param(default = 1, range = 3)] epochs: u32").contains("such as 1..=1000"));
    }

    #[test]
    fn a_parameter_without_a_description_is_refused() {
        let input = syn::parse_str("struct Settings { #[param(default = 1)] epochs: u32 }").unwrap();
        assert!(
            expand(&input)
                .unwrap_err()
                .to_string()
                .contains("say what `epochs` means")
        );
    }
}
