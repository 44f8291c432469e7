//! Preprocessed CUDA as the C++ that the emulator can run.

use anyhow::{Context, Result, bail};

/// Preprocessed CUDA as C++: a block's shared variables become references to where the emulator has them, and a list of the kernels
/// is added.
pub fn rewrite(text: &str, source: &str) -> Result<String> {
    let mut out = String::with_capacity(text.len() + text.len() / 8);
    let mut kernels: Vec<(String, String)> = Vec::new();
    let mut rest = text;
    while let Some(next) = rest.chars().next() {
        if next == '"' || next == '\'' {
            // A digit's separator opens no character.
            let quoted = if next == '\'' && out.ends_with(|before: char| before.is_ascii_alphanumeric()) {
                1
            } else {
                literal(rest)
            };
            let (literal, after) = rest.split_at(quoted);
            out.push_str(literal);
            rest = after;
        } else if is_word(next) {
            let end = rest.find(|c: char| !is_word(c)).unwrap_or(rest.len());
            let (word, after) = rest.split_at(end);
            match word {
                "__shared__" => {
                    let end = statement(after).context("a shared variable without its `;`")?;
                    let (declaration, after) = after.split_at(end);
                    shared(&mut out, declaration.trim())?;
                    rest = &after[1..];
                }
                "__global__" => {
                    let (signature, after) = global(after)?;
                    if let Some(kernel) = exported(&out, &signature)?
                        && !kernels.contains(&kernel)
                    {
                        kernels.push(kernel);
                    }
                    // Called from where accesses are not looked at.
                    out.push_str("__attribute__((noinline))");
                    out.push_str(&signature.text);
                    rest = after;
                }
                _ => {
                    out.push_str(word);
                    rest = after;
                }
            }
        } else {
            out.push(next);
            rest = &rest[next.len_utf8()..];
        }
    }
    out.push_str("\nextern \"C\" __attribute__((visibility(\"default\"))) const ::cuda_emulator::Kernel cuda_emulator_kernels[] = {\n");
    for (name, threads) in &kernels {
        out.push_str(&format!(
            "    ::cuda_emulator::kernel<&{name}>(\"{name}\", {threads}),\n"
        ));
    }
    out.push_str("    {}};\n");
    out.push_str(&format!(
        "extern \"C\" __attribute__((visibility(\"default\"))) const char cuda_emulator_source[] = {source:?};\n"
    ));
    Ok(out)
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// The length of the string or character that a text begins with.
fn literal(text: &str) -> usize {
    let quote = text.as_bytes()[0];
    let mut escaped = false;
    for (at, &byte) in text.as_bytes().iter().enumerate().skip(1) {
        if escaped {
            escaped = false;
        } else if byte == b'\\' {
            escaped = true;
        } else if byte == quote || byte == b'\n' {
            return at + 1;
        }
    }
    text.len()
}

/// Where the `;` of a statement is.
fn statement(text: &str) -> Option<usize> {
    let mut depth = 0;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => depth -= 1,
            b';' if depth == 0 => return Some(at),
            _ => {}
        }
    }
    None
}

/// A shared variable's declaration, without the word itself.
fn shared(out: &mut String, declaration: &str) -> Result<()> {
    let dynamic = drop_last_word(out, "extern");
    drop_last_word(out, "static");
    let mut declaration = declaration.to_owned();
    let alignment = alignment(&mut declaration);
    let mut parts = at_commas(&declaration).into_iter();
    let first = parts.next().unwrap_or_default();
    let (type_and_name, dimensions) = split_dimensions(&first);
    let name_at = type_and_name.rfind(|c: char| !is_word(c)).map_or(0, |at| at + 1);
    let (element, name) = (type_and_name[..name_at].trim(), type_and_name[name_at..].to_owned());
    if element.is_empty() || name.is_empty() {
        bail!("the shared variable `{declaration}` is not understood; write `__shared__ TYPE NAME[SIZE];`");
    }
    if dynamic {
        out.push_str(&format!(
            "{element} *const {name} = static_cast<{element} *>(::cuda_emulator::dynamic_shared());"
        ));
        return Ok(());
    }
    let others: Vec<_> = parts.collect();
    let declared = std::iter::once((name, dimensions)).chain(others.iter().map(|part| {
        let (name, dimensions) = split_dimensions(part);
        (name.to_owned(), dimensions)
    }));
    for (name, dimensions) in declared {
        out.push_str(&format!(
            "typedef {element} {name}_cuda_emulator_type {dimensions}; \
             static ::cuda_emulator::SharedSlot {name}_cuda_emulator_slot; \
             {name}_cuda_emulator_type &{name} = \
             ::cuda_emulator::shared<{name}_cuda_emulator_type>({name}_cuda_emulator_slot, \"{name}\", {alignment});"
        ));
    }
    Ok(())
}

/// Takes `alignas(...)` out of a declaration; 1 without.
fn alignment(declaration: &mut String) -> String {
    let Some(start) = declaration.find("alignas") else {
        return "1".to_owned();
    };
    let Some(open) = declaration[start..].find('(').map(|at| start + at) else {
        return "1".to_owned();
    };
    let mut depth = 0;
    for (at, byte) in declaration.bytes().enumerate().skip(open) {
        depth += i32::from(byte == b'(') - i32::from(byte == b')');
        if depth == 0 {
            let value = declaration[open..=at].to_owned();
            declaration.replace_range(start..=at, " ");
            *declaration = declaration.trim().to_owned();
            return value;
        }
    }
    "1".to_owned()
}

/// `name` and `[sizes]`.
fn split_dimensions(declarator: &str) -> (&str, &str) {
    let declarator = declarator.trim();
    // Brackets before the last word belong to the type, as in `Of<sizes[0]> x`.
    let mut at = declarator.len();
    let bytes = declarator.as_bytes();
    while at > 0 && bytes[at - 1] == b']' {
        let mut depth = 0;
        while at > 0 {
            at -= 1;
            depth += i32::from(bytes[at] == b']') - i32::from(bytes[at] == b'[');
            if depth == 0 {
                break;
            }
        }
        at = declarator[..at].trim_end().len();
    }
    (declarator[..at].trim_end(), declarator[at..].trim())
}

fn at_commas(text: &str) -> Vec<String> {
    let (mut parts, mut depth) = (vec![String::new()], 0);
    for c in text.chars() {
        match c {
            '(' | '[' | '{' | '<' => depth += 1,
            ')' | ']' | '}' | '>' => depth -= 1,
            _ => {}
        }
        if c == ',' && depth == 0 {
            parts.push(String::new());
        } else if let Some(last) = parts.last_mut() {
            last.push(c);
        }
    }
    parts
}

/// Takes a word off the end of what has been written.
fn drop_last_word(out: &mut String, word: &str) -> bool {
    let trimmed = out.trim_end().len();
    let found = out[..trimmed].ends_with(word) && !out[..trimmed - word.len()].ends_with(is_word);
    if found {
        out.truncate(trimmed - word.len());
    }
    found
}

/// What stands between `__global__` and the kernel's parameters.
struct Signature {
    text: String,
    name: String,
    threads: String,
}

fn global(after: &str) -> Result<(Signature, &str)> {
    let mut signature = Signature {
        text: String::new(),
        name: String::new(),
        threads: "1024".to_owned(),
    };
    let mut rest = after;
    while let Some(next) = rest.chars().next() {
        if next == '(' && !signature.name.is_empty() {
            return Ok((signature, rest));
        }
        if !is_word(next) {
            signature.text.push(next);
            rest = &rest[next.len_utf8()..];
            continue;
        }
        let end = rest.find(|c: char| !is_word(c)).unwrap_or(rest.len());
        let (word, later) = rest.split_at(end);
        rest = later;
        let in_parentheses = matches!(word, "__launch_bounds__" | "__attribute__");
        if !in_parentheses {
            signature.text.push_str(word);
            word.clone_into(&mut signature.name);
            continue;
        }
        let trimmed = rest.trim_start();
        let mut depth = 0;
        let close = trimmed.bytes().position(|byte| {
            depth += i32::from(byte == b'(') - i32::from(byte == b')');
            depth == 0
        });
        let close = close.with_context(|| format!("{word} without its parentheses"))?;
        if word == "__launch_bounds__" {
            signature.threads = at_commas(&trimmed[1..close]).swap_remove(0);
        } else {
            signature.text.push_str(word);
            signature.text.push_str(&trimmed[..=close]);
        }
        rest = &trimmed[close + 1..];
    }
    bail!("`__global__` without a function")
}

/// The kernel's name and the most threads of its blocks, where the driver finds it by this name.
fn exported(before: &str, signature: &Signature) -> Result<Option<(String, String)>> {
    let start = before.rfind([';', '{', '}']).map_or(0, |at| at + 1);
    let declaration = &before[start..];
    let words: Vec<_> = declaration.split(|c: char| !is_word(c)).collect();
    if words.contains(&"template") || words.contains(&"static") {
        return Ok(None);
    }
    let block = before[..start].trim_end_matches('{').trim_end();
    if !declaration.contains("extern \"C\"") && !block.ends_with("extern \"C\"") {
        bail!(
            "the kernel {} is not found by its name; write extern \"C\" before __global__",
            signature.name
        );
    }
    Ok(Some((signature.name.clone(), signature.threads.clone())))
}

#[cfg(test)]
mod tests {
    use super::rewrite;

    fn rewritten(text: &str) -> String {
        rewrite(text, "x.cu").expect("the source is understood")
    }

    #[test]
    fn kernels_are_listed_with_the_threads_of_their_blocks() {
        let text = "extern \"C\" __global__ void __launch_bounds__(2 * (64), 2) first(int *x) { }\n\
                    extern \"C\" { __global__ void second(); }\n\
                    template <class T> __global__ void inner(T *x) { }";
        let out = rewritten(text);
        assert!(out.contains("kernel<&first>(\"first\", 2 * (64))"), "{out}");
        assert!(out.contains("kernel<&second>(\"second\", 1024)"), "{out}");
        assert!(!out.contains("&inner") && !out.contains("__global__"), "{out}");
    }

    #[test]
    fn a_kernel_that_is_not_found_by_its_name_is_refused() {
        let error = rewrite("__global__ void hidden(int *x) { }", "x.cu").expect_err("it has a C++ name");
        assert!(error.to_string().contains("the kernel hidden"), "{error}");
    }

    #[test]
    fn shared_variables_become_references() {
        let out = rewritten("void f() { __shared__ float rows[4][32 + 1], one; }");
        assert!(
            out.contains("typedef float rows_cuda_emulator_type [4][32 + 1];"),
            "{out}"
        );
        assert!(out.contains("typedef float one_cuda_emulator_type ;"), "{out}");
        assert!(out.contains("(one_cuda_emulator_slot, \"one\", 1)"), "{out}");
        let out = rewritten("void f() { static __shared__ alignas(16) Pair<int, 2> pairs[8]; }");
        assert!(
            out.contains("typedef Pair<int, 2> pairs_cuda_emulator_type [8];"),
            "{out}"
        );
        assert!(out.contains("\"pairs\", (16));"), "{out}");
    }

    #[test]
    fn what_a_launch_asks_for_has_one_address() {
        let out = rewritten("extern __shared__ alignas(16) unsigned char bytes[];");
        assert!(
            out.contains(
                "unsigned char *const bytes = static_cast<unsigned char *>(::cuda_emulator::dynamic_shared());"
            ),
            "{out}"
        );
        assert!(!out.contains("extern __shared__"), "{out}");
    }

    #[test]
    fn words_in_texts_stay() {
        let out = rewritten("const char *text = \"__shared__ int x; \\\" __global__\"; int n = 1'000; char c = ';';");
        assert!(
            out.contains("\"__shared__ int x; \\\" __global__\"; int n = 1'000; char c = ';';"),
            "{out}"
        );
    }
}
