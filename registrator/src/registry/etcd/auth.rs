//! The token of a user: asked for once, shared by all requests, asked for again when the server forgets it.
//!
//! Servers forget tokens after five minutes without use, at each restart, and when rights change.

use std::sync::{Mutex, PoisonError};

use hyper::header::HeaderValue;
use tokio::sync::Semaphore;

/// A user's name and password.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// As the server knows it.
    pub user: String,
    /// In the clear; never shown.
    pub password: String,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials")
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

/// What is sent along with a request; `None` where the server asks for nothing.
pub(super) type Pass = Option<HeaderValue>;

/// The pass of now.
#[derive(Debug)]
pub(super) struct Passes {
    now: Mutex<Option<Pass>>,
    /// One asks for a token while the others wait for it: each costs the server a password hash.
    turn: Semaphore,
}

impl Default for Passes {
    fn default() -> Self {
        Self {
            now: Mutex::default(),
            turn: Semaphore::new(1),
        }
    }
}

impl Passes {
    /// The pass of now, or what `login` returns where there is none or it has been `spent`.
    ///
    /// # Errors
    /// Those of `login`.
    pub(super) async fn get<E>(
        &self,
        spent: Option<&Pass>,
        login: impl Future<Output = Result<Pass, E>>,
    ) -> Result<Pass, E> {
        if let Some(pass) = self.now(spent) {
            return Ok(pass);
        }
        let _turn = self.turn.acquire().await;
        if let Some(pass) = self.now(spent) {
            return Ok(pass);
        }
        let fresh = login.await?;
        *self.now.lock().unwrap_or_else(PoisonError::into_inner) = Some(fresh.clone());
        Ok(fresh)
    }

    fn now(&self, spent: Option<&Pass>) -> Option<Pass> {
        let now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        now.clone().filter(|pass| Some(pass) != spent)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_util::future::join_all;

    use super::*;

    #[tokio::test]
    async fn however_many_need_a_token_one_asks_for_it() {
        let passes = Passes::default();
        let asked = AtomicUsize::new(0);
        let login = || async {
            tokio::task::yield_now().await;
            let number = asked.fetch_add(1, Ordering::Relaxed);
            Ok::<_, ()>(Some(HeaderValue::from(number)))
        };
        let first = join_all((0..9).map(|_| passes.get(None, login()))).await;
        assert!(first.iter().all(|pass| *pass == Ok(Some(HeaderValue::from(0)))));

        let spent = Some(HeaderValue::from(0));
        let second = join_all((0..9).map(|_| passes.get(Some(&spent), login()))).await;

        assert!(second.iter().all(|pass| *pass == Ok(Some(HeaderValue::from(1)))));
        assert_eq!(asked.into_inner(), 2);
    }

    #[test]
    fn a_password_is_not_shown() {
        let credentials = Credentials {
            user: "reg".to_owned(),
            password: "secret".to_owned(),
        };
        assert!(!format!("{credentials:?}").contains("secret"));
    }
}
