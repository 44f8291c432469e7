//! `#[derive(Choice)]`

use crate::json_string;
use proc_macro2::TokenStream;
use quote::quote;
use syn::{Data, DeriveInput, Error, Fields, Result};

pub fn expand(input: &DeriveInput) -> Result<TokenStream> {
    let Data::Enum(body) = &input.data else {
        return Err(Error::new_spanned(&input.ident, "`Choice` is for an enum"));
    };
    if body.variants.is_empty() {
        return Err(Error::new_spanned(
            &input.ident,
            "an enum without variants leaves nothing to choose",
        ));
    }
    let (mut variants, mut names) = (Vec::new(), Vec::new());
    for variant in &body.variants {
        if !matches!(variant.fields, Fields::Unit) {
            return Err(Error::new_spanned(
                variant,
                "a choice is a name alone: this variant may not have fields",
            ));
        }
        variants.push(&variant.ident);
        names.push(snake_case(&variant.ident.to_string()));
    }
    let json = names.iter().map(|name| json_string(name)).collect::<Vec<_>>().join(",");
    let (ident, (generics, types, bounds)) = (&input.ident, input.generics.split_for_impl());
    Ok(quote! {
        impl #generics ::trainyard_sdk::parameters::Parameter for #ident #types #bounds {
            fn schema(_: &::trainyard_sdk::parameters::Limits, nullable: bool) -> ::std::string::String {
                ::trainyard_sdk::parameters::choice_schema(#json, nullable)
            }
            fn from_value(
                value: &::trainyard_sdk::parameters::Value,
            ) -> ::std::result::Result<Self, ::std::string::String> {
                let choices = [#(Self::#variants),*];
                let index = ::trainyard_sdk::parameters::choice_index(&[#(#names),*], value)?;
                ::std::result::Result::Ok(::std::iter::IntoIterator::into_iter(choices).nth(index).unwrap())
            }
        }
    })
}

fn snake_case(name: &str) -> String {
    let mut snake = String::new();
    for character in name.trim_start_matches("r#").chars() {
        if character.is_uppercase() && !snake.is_empty() {
            snake.push('_');
        }
        snake.extend(character.to_lowercase());
    }
    snake
}

#[cfg(test)]
mod tests {
    use super::{expand, snake_case};

    #[test]
    fn a_variant_is_written_in_snake_case() {
        assert_eq!(snake_case("LeakyRelu"), "leaky_relu");
        assert_eq!(snake_case("Adamw"), "adamw");
    }

    #[test]
    fn a_variant_with_fields_is_refused() {
        let input = syn::parse_str("enum Loss { Squared, Huber(f64) }").unwrap();
        assert!(expand(&input).unwrap_err().to_string().contains("may not have fields"));
    }
}
