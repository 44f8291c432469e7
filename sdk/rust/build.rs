//! Generates the bindings of the contract, and makes them small.
//!
//! wit-bindgen writes all the code that reads a result from memory into each of the 150 functions that can fail: three
//! kilobytes of WebAssembly for the error alone, so that a plugin that calls fifty of them would be larger than 200 KiB. Here
//! that code becomes one function, and so does the code that writes an error. The text that is looked for is that of one
//! version of wit-bindgen (see Cargo.toml): where it is not found, the build fails.

use std::error::Error;
use std::fs;
use std::path::Path;
use wit_bindgen_core::wit_parser::Resolve;
use wit_bindgen_core::{Files, WorldGenerator};

type Result<T, E = Box<dyn Error>> = std::result::Result<T, E>;

const WIT: &str = "../../wit";
/// As the modules of imported interfaces see it.
const PLUGIN: &str = "super::super::super::trainyard::plugin";
/// The crate's own error, small enough to be passed around.
const BOXED: &str = "::trainyard_sdk::Error";

fn main() -> Result<()> {
    println!("cargo::rerun-if-changed={WIT}");
    println!("cargo::rerun-if-changed=build.rs");

    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_path(WIT)?;
    let world = resolve.select_world(&[package], Some("plugin"))?;
    let options = wit_bindgen_rust::Opts {
        pub_export_macro: true,
        default_bindings_module: Some("trainyard_sdk::bindings".into()),
        disable_custom_section_link_helpers: true,
        ..Default::default()
    };
    let mut files = Files::default();
    options.build().generate(&mut resolve, world, &mut files)?;
    let (_, source) = files.iter().next().ok_or("wit-bindgen generated nothing")?;

    let bindings = without_import_description(std::str::from_utf8(source)?)?;
    let bindings = share_error_code(bindings)?;
    let bindings = share_tensor_code(&bindings)?;
    let bindings = without_post_return(&bindings)?;
    fs::write(Path::new(&std::env::var("OUT_DIR")?).join("bindings.rs"), bindings)?;
    Ok(())
}

/// Without the custom section that describes the imports alone, the last item: a plugin's `export!` describes them as well.
fn without_import_description(source: &str) -> Result<&str> {
    let section = source
        .find("-with-all-of-its-exports-removed:encoded world\")]")
        .ok_or("no section to leave out")?;
    let item = source[..section]
        .rfind("#[cfg(")
        .ok_or("a section that is not for WebAssembly alone")?;
    Ok(&source[..item])
}

/// Replaces the blocks that lift (read) a `types.error` from memory by calls of one function, whose body is the first of
/// them, and in the same way those that lower (write) one. An error lies at offset 8 of every result: its alignment is 8.
/// What is lifted is at once put into the crate's own error, so that results stay small.
///
/// ```text
/// { let l4 = i32::from(*ptr0.add(8).cast::<u8>()); use ..::types::Error as V96; .. }      becomes  types::lift_error(ptr0)
/// use ..::types::Error as V45; match e { V45::Shape(e) => { *ptr8.add(8) .. } .. }         becomes  lower_error(ptr8, e)
/// ```
fn share_error_code(source: &str) -> Result<String> {
    const MARK: &str = "::types::Error as V";
    let (mut lift, mut lower) = (None, None);
    let mut result = String::new();
    let mut rest = source;
    while let Some(mark) = rest.find(MARK) {
        let block = rest[..mark].rfind('{').ok_or("an error outside of a block")?;
        let read = rest[block..mark].split_once("i32::from(*").map(|(_, read)| read);
        if let Some((pointer, _)) = read.and_then(|read| read.split_once(".add(8).cast::<u8>()")) {
            let end = block + block_length(&rest[block..])?;
            lift.get_or_insert_with(|| {
                let body = &rest[block..end];
                format!("#[cold]\npub unsafe fn lift_error({pointer}: *mut u8) -> {BOXED} {{ unsafe {body}.into() }}\n")
            });
            result.push_str(&format!("{}{PLUGIN}::types::lift_error({pointer})", &rest[..block]));
            rest = &rest[end..];
        } else {
            let start = rest[..mark].rfind("use ").ok_or("an error type that is not imported")?;
            let body = start
                + rest[start..]
                    .find("match e {")
                    .ok_or("an error that is neither lifted nor lowered")?
                + 8;
            let end = body + block_length(&rest[body..])?;
            let store = rest[body..end]
                .split_once('*')
                .and_then(|(_, store)| store.split_once(".add(8)"));
            let (pointer, _) = store.ok_or("an error that does not lie at offset 8")?;
            lower.get_or_insert_with(|| {
                let body = &rest[start..end];
                let error = format!("super::{PLUGIN}::types::Error");
                format!("#[cold]\nunsafe fn lower_error({pointer}: *mut u8, e: {error}) {{ unsafe {{ {body} }} }}\n")
            });
            result.push_str(&format!("{}lower_error({pointer}, e)", &rest[..start]));
            rest = &rest[end..];
        }
    }
    result.push_str(rest);
    insert(&mut result, "pub mod types {", &lift.ok_or("no error is lifted")?)?;
    insert(&mut result, "pub mod algorithm {", &lower.ok_or("no error is lowered")?)?;
    Ok(result.replace(
        &format!("pub type Error = {PLUGIN}::types::Error;"),
        &format!("pub type Error = {BOXED};"),
    ))
}

/// Replaces the blocks that lift a `result<tensor, error>`, which most functions give, by calls of one function.
fn share_tensor_code(source: &str) -> Result<String> {
    const MARK: &str = " = match l";
    // As text without white space and digits.
    let expected = format!(
        "{{=>{{lete={{letl=*ptr.add().cast::<i>();Tensor::from_handle(lasu)}};Ok(e)}}\
         =>{{lete={PLUGIN}::types::lift_error(ptr);Err(e)}}_=>_rt::invalid_enum_discriminant(),}}"
    );
    let mut result = String::new();
    let mut rest = source;
    while let Some(mark) = rest.find(MARK) {
        let start = mark + " = ".len();
        let block = start + rest[start..].find('{').ok_or("a match without arms")?;
        let end = block + block_length(&rest[block..])?;
        let text: String = rest[block..end]
            .chars()
            .filter(|c| !c.is_whitespace() && !c.is_ascii_digit())
            .collect();
        let pointer = rest[..mark]
            .rsplit_once("i32::from(*")
            .and_then(|(_, read)| read.split_once(".add(0)"));
        match pointer {
            Some((pointer, _)) if text.replacen(&format!("{PLUGIN}::tensor::Tensor"), "Tensor", 1) == expected => {
                result.push_str(&format!("{}{PLUGIN}::tensor::lift_tensor({pointer})", &rest[..start]));
                rest = &rest[end..];
            }
            _ => {
                result.push_str(&rest[..block]);
                rest = &rest[block..];
            }
        }
    }
    result.push_str(rest);
    if !result.contains("lift_tensor") {
        return Err("no tensor is lifted".into());
    }
    let function = format!(
        "#[inline(never)]
        pub unsafe fn lift_tensor(result: *mut u8) -> Result<Tensor, {BOXED}> {{
            unsafe {{
                match *result {{
                    0 => Ok(Tensor::from_handle(*result.add(8).cast::<u32>())),
                    _ => Err({PLUGIN}::types::lift_error(result)),
                }}
            }}
        }}"
    );
    insert(&mut result, "pub mod tensor {", &function)?;
    Ok(result)
}

/// Without the functions that free what an export returned: the host needs it once, and the instance ends soon after.
fn without_post_return(source: &str) -> Result<String> {
    let mut result = String::new();
    let mut rest = source;
    while let Some(start) = rest.find("#[unsafe(export_name = \"cabi_post_") {
        let block = start + rest[start..].find('{').ok_or("a function without a body")?;
        result.push_str(&rest[..start]);
        rest = &rest[block + block_length(&rest[block..])?..];
    }
    result.push_str(rest);
    Ok(result)
}

fn insert(source: &mut String, module: &str, function: &str) -> Result<()> {
    let place = source.find(module).ok_or("a module is missing")? + module.len();
    source.insert_str(place, &format!("\n{function}\n"));
    Ok(())
}

/// The length of the block in braces at the start of the text, which has no braces in strings.
fn block_length(text: &str) -> Result<usize> {
    let mut depth = 0;
    for (place, character) in text.char_indices() {
        match character {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Ok(place + 1);
        }
    }
    Err("a block does not end".into())
}
