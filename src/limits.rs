//! What the system lets this process have.
//!
//! Shells and systemd start programs with 1024 open files and allow hundreds of thousands to those
//! who ask. Every connection is a file, a proxied one two: a balancer has to ask, as Go's runtime
//! does for the programs we stand in for. Must not spawn programs that inherit it.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Allows this process as many open files as it may have.
pub fn raise_open_files() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current == maximum {
        return;
    }
    let raised = Rlimit {
        current: maximum,
        maximum,
    };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::info!(?current, ?maximum, %error, "the limit of open files stays as it was");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_of_open_files_is_raised_to_what_is_allowed() {
        let before = getrlimit(Resource::Nofile);
        // Low enough to show, high enough for the tests beside this one.
        let lowered = Rlimit {
            current: before.maximum.map(|maximum| maximum - 1),
            ..before
        };
        setrlimit(Resource::Nofile, lowered).unwrap();

        raise_open_files();

        assert_eq!(getrlimit(Resource::Nofile).current, before.maximum);
    }
}
