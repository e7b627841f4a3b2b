//! PEM files of a web server: a list of their names, a line each, and the files beside the list.

use hyper::header::{HeaderName, HeaderValue};
use tokio::task::JoinSet;

use super::NotRead;
use super::files::{Files, MAX_ALL, MAX_FILES};
use crate::fetch::{Fetcher, Limits, url_of};
use crate::tls::pair::MAX_PEM;

/// Files that are asked for at a time.
const AT_A_TIME: usize = 8;

/// Reads the list, then all that it names. A file that cannot be had is one that is left out.
pub(super) async fn read(
    fetcher: &Fetcher,
    list: &str,
    headers: &[(HeaderName, HeaderValue)],
) -> Result<Files, NotRead> {
    let limits = Limits {
        time: super::PATIENCE,
        size: MAX_PEM,
    };
    let answer = fetcher.get(list, headers, limits).await?;
    let text = String::from_utf8_lossy(answer.body()).into_owned();
    let names = text
        .lines()
        .map(|line| line.trim().trim_start_matches('/'))
        .filter(|name| !name.is_empty() && !name.starts_with('#'));
    let mut wanted = Vec::new();
    let mut files = Files::new();
    for name in names.take(MAX_FILES) {
        match beside(list, name) {
            Some(url) => wanted.push((name.to_owned(), url)),
            None => {
                let problem = "the list names what is no file beside it".to_owned();
                files.insert(name.to_owned(), Err(problem));
            }
        }
    }
    let (mut fetching, mut left) = (JoinSet::new(), MAX_ALL);
    let mut wanted = wanted.into_iter();
    loop {
        while fetching.len() < AT_A_TIME
            && let Some((name, url)) = wanted.next()
        {
            let (fetcher, headers) = (fetcher.clone(), headers.to_vec());
            fetching.spawn(async move { (name, fetcher.get(&url, &headers, limits).await) });
        }
        let Some(fetched) = fetching.join_next().await else {
            return Ok(files);
        };
        let Ok((name, answer)) = fetched else { continue };
        let text = answer.map_err(|error| error.to_string()).and_then(|answer| {
            left = left
                .checked_sub(answer.body().len())
                .ok_or("there is more in this list than 64 MiB")?;
            Ok(answer.into_body().to_vec())
        });
        files.insert(name, text);
    }
}

/// URL of a file named in the list at `list`: in the list's folder, with the list's query. fabio puts no slash between
/// folder and name, so lists for it have names with one in front; both are understood. A name never leads elsewhere.
fn beside(list: &str, name: &str) -> Option<String> {
    let (base, query) = match list.split_once('?') {
        Some((base, query)) => (base, format!("?{query}")),
        None => (list, String::new()),
    };
    let leads_elsewhere = name.split('/').any(|part| matches!(part, "" | "." | ".."))
        || name.contains(['?', '#', '\\', '@'])
        || name.contains("://");
    let after_scheme = base.find("://")? + 3;
    let folder = match base[after_scheme..].rfind('/') {
        Some(slash) => &base[..after_scheme + slash],
        None => base,
    };
    let url = format!("{folder}/{}{query}", name.replace(' ', "%20"));
    (!leads_elsewhere && url_of(&url).is_ok()).then_some(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_beside_the_list_and_never_elsewhere() {
        let at = |list, name| beside(list, name).unwrap_or_default();
        assert_eq!(at("http://h/list", "a.pem"), "http://h/a.pem");
        assert_eq!(at("http://h", "a.pem"), "http://h/a.pem");
        assert_eq!(
            at("https://u:p@h:1/x/y/list?t=1", "z/a.pem"),
            "https://u:p@h:1/x/y/z/a.pem?t=1"
        );
        for bad in [
            "../a.pem",
            "x/../../a.pem",
            "http://other/a.pem",
            "/a.pem",
            "a.pem?x",
            "a\u{7f}.pem",
        ] {
            assert_eq!(at("http://h/list", bad), "", "{bad}");
        }
    }
}
