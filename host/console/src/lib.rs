//! The web page's files, inside the program. `console/` is where they are written; `cargo xtask console` builds them.
//!
//! A plain `cargo build` needs no Node: where the page was not built, [`index`] is one that says how to do that.

/// A file of the page.
#[derive(Debug)]
pub struct File {
    /// Its path, such as `assets/index-BhXUcMJJ.css`.
    pub path: &'static str,
    /// What is in it.
    pub content: &'static [u8],
    /// The same, packed by gzip; empty where that is no smaller.
    pub gzip: &'static [u8],
}

static FILES: &[File] = include!(concat!(env!("OUT_DIR"), "/files.rs"));

static UNBUILT: File = File {
    path: "index.html",
    content: include_bytes!("unbuilt.html"),
    gzip: &[],
};

/// The page itself.
pub fn index() -> &'static File {
    file("index.html").unwrap_or(&UNBUILT)
}

/// One of its files.
pub fn file(path: &str) -> Option<&'static File> {
    FILES.iter().find(|file| file.path == path)
}

impl File {
    /// What it is, by its ending.
    pub fn content_type(&self) -> &'static str {
        match self.path.rsplit('.').next() {
            Some("html") => "text/html; charset=utf-8",
            Some("js") => "text/javascript; charset=utf-8",
            Some("css") => "text/css; charset=utf-8",
            Some("svg") => "image/svg+xml",
            Some("woff2") => "font/woff2",
            _ => "application/octet-stream",
        }
    }

    /// Whether its name says what is in it, so that it never has to be asked for again.
    pub fn is_lasting(&self) -> bool {
        self.path.starts_with("assets/")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_always_a_page() {
        let text = str::from_utf8(index().content).unwrap_or_default();
        assert!(text.contains("<title>Trainyard"), "{text}");
        if file("index.html").is_some() {
            // It names no file that is not here.
            for part in text.split('"').filter(|part| part.starts_with("/assets/")) {
                assert!(file(part.trim_start_matches('/')).is_some(), "{part}");
            }
        } else {
            assert!(text.contains("cargo xtask console"), "{text}");
        }
    }
}
