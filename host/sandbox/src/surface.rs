//! What a component, or the world of one, imports and exports, in the words of WIT: to compare a plugin's side of the
//! contract with the host's, and to show both.
//!
//! Everything here is read by `wasmparser`, whose validation bounds it. The readers of `wit-parser` are for files that
//! are trusted: packages that depend on each other in a circle make them recurse without end.

use std::collections::HashMap;
use std::fmt;
use wasmparser::component_types::{
    AliasableResourceId, ComponentAnyTypeId, ComponentDefinedType, ComponentDefinedTypeId, ComponentEntityType,
    ComponentFuncTypeId, ComponentInstanceTypeId, ComponentItem, ComponentValType,
};
use wasmparser::types::TypesRef;
use wasmparser::{BinaryReaderError, Parser, Payload, Validator};

/// The longest text for one function or type.
const LONGEST: usize = 4_000;

/// The name of an interface, in parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Name {
    /// As it is written: `trainyard:plugin/tensor@0.1.0`.
    pub full: String,
    /// `trainyard:plugin`
    pub package: String,
    /// `tensor`
    pub interface: String,
    pub version: Option<semver::Version>,
}

impl Name {
    fn parse(full: &str) -> Option<Self> {
        let (path, version) = match full.split_once('@') {
            Some((path, version)) => (path, Some(semver::Version::parse(version).ok()?)),
            None => (full, None),
        };
        let (package, interface) = path.split_once('/')?;
        package.contains(':').then(|| Name {
            full: full.to_owned(),
            package: package.to_owned(),
            interface: interface.to_owned(),
            version,
        })
    }
}

/// An interface as one side sees it. Functions and types are in the order of their declaration, each with its text.
#[derive(Debug, Clone)]
pub(crate) struct Interface {
    pub name: Name,
    pub functions: Vec<(String, String)>,
    pub types: Vec<(String, String)>,
}

impl Interface {
    pub(crate) fn function(&self, name: &str) -> Option<&str> {
        find(&self.functions, name)
    }

    pub(crate) fn ty(&self, name: &str) -> Option<&str> {
        find(&self.types, name)
    }
}

fn find<'a>(items: &'a [(String, String)], name: &str) -> Option<&'a str> {
    items
        .iter()
        .find(|(item, _)| item == name)
        .map(|(_, text)| text.as_str())
}

/// All that a component imports and exports.
#[derive(Debug, Default)]
pub(crate) struct Surface {
    pub imports: Vec<Interface>,
    pub exports: Vec<Interface>,
    /// Imports that are no interfaces.
    pub bare: Vec<String>,
    /// Exports that are none.
    pub bare_exports: Vec<String>,
}

impl Surface {
    /// Of a component.
    pub(crate) fn of_component(bytes: &[u8]) -> Result<Self, BinaryReaderError> {
        let types = Validator::new().validate_all(bytes)?;
        let types = types.as_ref();
        let (imports, exports) = top_level(bytes)?;
        let mut surface = Surface::default();
        for name in imports {
            surface.import(types, name, types.component_item_for_import(name));
        }
        for name in exports {
            surface.export(types, name, types.component_item_for_export(name));
        }
        Ok(surface)
    }

    /// Of a world, in the form in which a module carries it. `None`: the bytes are a component, but no such world.
    pub(crate) fn of_world(bytes: &[u8]) -> Result<Option<Self>, BinaryReaderError> {
        let types = Validator::new().validate_all(bytes)?;
        let types = types.as_ref();
        let (_, exports) = top_level(bytes)?;
        // A component that exports one type, a component that exports one component, the world.
        let [name] = exports[..] else { return Ok(None) };
        let Some(ComponentEntityType::Type {
            referenced: ComponentAnyTypeId::Component(outer),
            ..
        }) = types.component_item_for_export(name).map(|item| item.ty)
        else {
            return Ok(None);
        };
        let mut worlds = types[outer].exports.values();
        let (Some(ComponentEntityType::Component(world)), None) = (worlds.next().map(|item| item.ty), worlds.next())
        else {
            return Ok(None);
        };
        let mut surface = Surface::default();
        for (name, item) in &types[world].imports {
            surface.import(types, name, Some(item));
        }
        for (name, item) in &types[world].exports {
            surface.export(types, name, Some(item));
        }
        Ok(Some(surface))
    }

    fn import(&mut self, types: TypesRef<'_>, name: &str, item: Option<&ComponentItem>) {
        match interface(types, name, item) {
            Some(interface) => self.imports.push(interface),
            None => self.bare.push(name.to_owned()),
        }
    }

    fn export(&mut self, types: TypesRef<'_>, name: &str, item: Option<&ComponentItem>) {
        match interface(types, name, item) {
            Some(interface) => self.exports.push(interface),
            None => self.bare_exports.push(name.to_owned()),
        }
    }
}

/// The names of a component's own imports and exports, without those of what is nested in it.
fn top_level(bytes: &[u8]) -> Result<(Vec<&str>, Vec<&str>), BinaryReaderError> {
    let (mut imports, mut exports) = (Vec::new(), Vec::new());
    let mut depth = 0;
    for payload in Parser::new(0).parse_all(bytes) {
        match payload? {
            Payload::Version { .. } => depth += 1,
            Payload::End(_) => depth -= 1,
            Payload::ComponentImportSection(section) if depth == 1 => {
                for import in section {
                    imports.push(import?.name.name);
                }
            }
            Payload::ComponentExportSection(section) if depth == 1 => {
                for export in section {
                    exports.push(export?.name.name);
                }
            }
            _ => {}
        }
    }
    Ok((imports, exports))
}

fn interface(types: TypesRef<'_>, name: &str, item: Option<&ComponentItem>) -> Option<Interface> {
    let name = Name::parse(name)?;
    let ComponentEntityType::Instance(instance) = item?.ty else {
        return None;
    };
    let writer = Writer::new(types, instance);
    let (mut functions, mut declared) = (Vec::new(), Vec::new());
    for (item, ComponentItem { ty, .. }) in &types[instance].exports {
        match ty {
            ComponentEntityType::Func(id) => {
                functions.push((item.clone(), writer.function(item, *id)));
            }
            ComponentEntityType::Type { created, .. } => {
                declared.push((item.clone(), writer.definition(item, *created)));
            }
            _ => {}
        }
    }
    Some(Interface {
        name,
        functions,
        types: declared,
    })
}

/// Writes the types of one instance, by the names that it gives them.
struct Writer<'a> {
    types: TypesRef<'a>,
    names: HashMap<ComponentAnyTypeId, &'a str>,
}

impl<'a> Writer<'a> {
    fn new(types: TypesRef<'a>, instance: ComponentInstanceTypeId) -> Self {
        let mut names = HashMap::new();
        let exports = types.get(instance).map(|instance| &instance.exports);
        for (name, item) in exports.into_iter().flatten() {
            if let ComponentEntityType::Type { created, .. } = item.ty {
                names.insert(created, name.as_str());
            }
        }
        Writer { types, names }
    }

    fn function(&self, name: &str, id: ComponentFuncTypeId) -> String {
        let function = &self.types[id];
        let mut text = Text::default();
        let prefix = if function.async_ { "async " } else { "" };
        text.push(&format!("{name}: {prefix}func("));
        self.list(&mut text, function.params.iter(), |writer, text, (name, ty)| {
            text.push(&format!("{name}: "));
            writer.value(text, ty);
        });
        text.push(")");
        if let Some(result) = &function.result {
            text.push(" -> ");
            self.value(&mut text, result);
        }
        text.0
    }

    fn definition(&self, name: &str, id: ComponentAnyTypeId) -> String {
        let mut text = Text::default();
        match id {
            ComponentAnyTypeId::Resource(_) => text.push(&format!("resource {name}")),
            ComponentAnyTypeId::Defined(id) => {
                let keyword = match &self.types[id] {
                    ComponentDefinedType::Record(_) => "record",
                    ComponentDefinedType::Variant(_) => "variant",
                    ComponentDefinedType::Flags(_) => "flags",
                    ComponentDefinedType::Enum(_) => "enum",
                    _ => "type",
                };
                let equals = if keyword == "type" { " =" } else { "" };
                text.push(&format!("{keyword} {name}{equals} "));
                self.structure(&mut text, id);
            }
            _ => text.push(&format!("type {name}")),
        }
        text.0
    }

    fn value(&self, text: &mut Text, ty: &ComponentValType) {
        match ty {
            ComponentValType::Primitive(primitive) => text.push(&primitive.to_string()),
            ComponentValType::Type(id) => match self.name(ComponentAnyTypeId::Defined(*id)) {
                Some(name) => text.push(name),
                None => self.structure(text, *id),
            },
        }
    }

    /// The name of a type, or of what it is another name for.
    fn name(&self, mut id: ComponentAnyTypeId) -> Option<&'a str> {
        loop {
            if let Some(name) = self.names.get(&id) {
                return Some(name);
            }
            id = self.types.peel_alias(id)?;
        }
    }

    fn resource(&self, id: AliasableResourceId) -> &'a str {
        self.name(ComponentAnyTypeId::Resource(id)).unwrap_or("_")
    }

    fn structure(&self, text: &mut Text, id: ComponentDefinedTypeId) {
        if text.is_full() {
            return;
        }
        match &self.types[id] {
            ComponentDefinedType::Primitive(primitive) => text.push(&primitive.to_string()),
            ComponentDefinedType::Record(record) => {
                text.push("{ ");
                self.list(text, record.fields.iter(), |writer, text, (name, ty)| {
                    text.push(&format!("{name}: "));
                    writer.value(text, ty);
                });
                text.push(" }");
            }
            ComponentDefinedType::Variant(variant) => {
                text.push("{ ");
                self.list(text, variant.cases.iter(), |writer, text, (name, case)| {
                    text.push(name.as_str());
                    if let Some(ty) = &case.ty {
                        text.push("(");
                        writer.value(text, ty);
                        text.push(")");
                    }
                });
                text.push(" }");
            }
            ComponentDefinedType::Enum(names) | ComponentDefinedType::Flags(names) => {
                text.push("{ ");
                self.list(text, names.iter(), |_, text, name| text.push(name.as_str()));
                text.push(" }");
            }
            ComponentDefinedType::List { element, .. } => self.of(text, "list", [element]),
            ComponentDefinedType::Option { ty, .. } => self.of(text, "option", [ty]),
            ComponentDefinedType::Tuple(tuple) => self.of(text, "tuple", &tuple.types),
            ComponentDefinedType::Result { ok, err, .. } => {
                text.push("result");
                if ok.is_some() || err.is_some() {
                    text.push("<");
                    match ok {
                        Some(ok) => self.value(text, ok),
                        None => text.push("_"),
                    }
                    if let Some(err) = err {
                        text.push(", ");
                        self.value(text, err);
                    }
                    text.push(">");
                }
            }
            ComponentDefinedType::Own(id) => text.push(self.resource(*id)),
            ComponentDefinedType::Borrow(id) => {
                text.push(&format!("borrow<{}>", self.resource(*id)));
            }
            ComponentDefinedType::FixedLengthList { length, .. } => {
                text.push(&format!("list of {length}"));
            }
            ComponentDefinedType::Map { key, value, .. } => self.of(text, "map", [key, value]),
            ComponentDefinedType::Future { .. } => text.push("future"),
            ComponentDefinedType::Stream { .. } => text.push("stream"),
        }
    }

    fn of<'t>(&self, text: &mut Text, name: &str, types: impl IntoIterator<Item = &'t ComponentValType>) {
        text.push(name);
        text.push("<");
        self.list(text, types.into_iter(), |writer, text, ty| writer.value(text, ty));
        text.push(">");
    }

    fn list<T>(&self, text: &mut Text, items: impl Iterator<Item = T>, write: impl Fn(&Self, &mut Text, T)) {
        for (i, item) in items.enumerate() {
            if text.is_full() {
                return;
            }
            if i > 0 {
                text.push(", ");
            }
            write(self, text, item);
        }
    }
}

/// A text of bounded length: a type that holds itself twice, and so on, would fill the memory.
#[derive(Default)]
struct Text(String);

impl Text {
    fn is_full(&self) -> bool {
        self.0.len() >= LONGEST
    }

    fn push(&mut self, more: &str) {
        if self.is_full() {
            return;
        }
        self.0.push_str(more);
        if self.is_full() {
            let mut end = LONGEST;
            while !self.0.is_char_boundary(end) {
                end -= 1;
            }
            self.0.truncate(end);
            self.0.push('…');
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.full)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn component(text: &str) -> Surface {
        Surface::of_component(&wat::parse_str(text).unwrap()).unwrap()
    }

    #[test]
    fn types_are_written_as_in_wit() {
        let surface = component(
            r#"(component
                (import "a:b/c@1.2.3" (instance
                    (export "r" (type $r (sub resource)))
                    (type $e (enum "one" "two"))
                    (export "e" (type $e' (eq $e)))
                    (type $m (record (field "x" (list (tuple f32 $e'))) (field "y" (option string))))
                    (export "m" (type $m' (eq $m)))
                    (type $v (variant (case "none") (case "some" $m')))
                    (export "v" (type $v' (eq $v)))
                    (export "[method]r.f" (func (param "self" (borrow $r)) (param "v" $v') (result (result (own $r) (error $e')))))
                    (export "g" (func))
                ))
                (import "plain" (func)))"#,
        );
        assert_eq!(surface.bare, ["plain"]);
        let interface = &surface.imports[0];
        assert_eq!(interface.name.package, "a:b");
        assert_eq!(interface.name.interface, "c");
        assert_eq!(interface.name.version, Some(semver::Version::new(1, 2, 3)));
        let texts: Vec<_> = interface.types.iter().map(|(_, text)| text.as_str()).collect();
        assert_eq!(
            texts,
            [
                "resource r",
                "enum e { one, two }",
                "record m { x: list<tuple<f32, e>>, y: option<string> }",
                "variant v { none, some(m) }",
            ]
        );
        assert_eq!(
            interface.function("[method]r.f"),
            Some("[method]r.f: func(self: borrow<r>, v: v) -> result<r, e>")
        );
        assert_eq!(interface.function("g"), Some("g: func()"));
    }

    #[test]
    fn packages_in_a_circle_do_no_harm() {
        let surface = component(
            r#"(component
                (import "a:a/x" (instance $x (type $t (record (field "f" u8))) (export "t" (type (eq $t)))))
                (alias export $x "t" (type $t))
                (import "b:b/y" (instance $y (alias outer 1 $t (type $t)) (export "t" (type $t' (eq $t)))
                    (type $u (record (field "f" $t'))) (export "u" (type (eq $u)))))
                (alias export $y "u" (type $u))
                (import "a:a/z" (instance (alias outer 1 $u (type $u)) (export "u" (type (eq $u))))))"#,
        );
        assert_eq!(surface.imports.len(), 3);
        assert_eq!(surface.imports[2].ty("u"), Some("record u { f: { f: u8 } }"));
    }

    #[test]
    fn a_type_that_doubles_with_every_step_is_cut() {
        let mut text = String::from("(component (import \"a:b/c\" (instance (type $t0 (list u8))");
        for i in 1..16 {
            text += &format!("(type $t{i} (tuple $t{0} $t{0}))", i - 1);
        }
        text += "(export \"t\" (type (eq $t15))))))";
        let surface = component(&text);
        let text = surface.imports[0].ty("t").unwrap();
        assert!(text.len() < 4_100 && text.ends_with('…'));
    }
}
