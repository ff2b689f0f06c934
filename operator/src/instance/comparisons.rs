//! Comparisons of objects with their releases, a few at a time: after an upgrade of the operator all instances are to be
//! compared, and what somebody waits for comes first. Whoever has to wait is called, and does not ask again and again.

use std::collections::BTreeSet;
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;

/// How many go on at once.
const AT_ONCE: usize = 8;

/// Who compares, and who waits for that.
#[derive(Debug, Default)]
pub(crate) struct Comparisons(Mutex<Turns>);

#[derive(Debug)]
struct Turns {
    free: usize,
    waiting: BTreeSet<String>,
    called: BTreeSet<String>,
    /// Woken when somebody is called.
    waker: Option<Waker>,
}

/// Leave to compare, until it is dropped.
#[derive(Debug)]
pub(super) struct Turn<'a>(&'a Comparisons);

impl Default for Turns {
    fn default() -> Self {
        Self {
            free: AT_ONCE,
            waiting: BTreeSet::new(),
            called: BTreeSet::new(),
            waker: None,
        }
    }
}

impl Comparisons {
    /// A turn for this instance; if there is none, it is called when there is.
    pub(super) fn turn(&self, name: &str) -> Option<Turn<'_>> {
        let mut turns = self.0.lock();
        if turns.free == 0 {
            turns.waiting.insert(name.to_owned());
            return None;
        }
        turns.free -= 1;
        turns.waiting.remove(name);
        Some(Turn(self))
    }

    /// Notes that this instance waits, and is to be called.
    pub(super) fn wait(&self, name: &str) {
        self.0.lock().waiting.insert(name.to_owned());
    }

    /// Calls as many of those who wait as there are turns.
    pub(super) fn call(&self) {
        self.0.lock().call();
    }

    /// The next instance that is called. There may be one who asks.
    pub(super) fn poll_called(&self, cx: &Context<'_>) -> Poll<String> {
        let mut turns = self.0.lock();
        if let Some(name) = turns.called.pop_first() {
            return Poll::Ready(name);
        }
        turns.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}

impl Turns {
    fn call(&mut self) {
        // Who was called before may have had no need any more: so there may be more turns than one.
        for _ in 0..self.free {
            let Some(name) = self.waiting.pop_first() else {
                break;
            };
            self.called.insert(name);
        }
        if !self.called.is_empty()
            && let Some(waker) = self.waker.take()
        {
            waker.wake();
        }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut turns = self.0.0.lock();
        turns.free += 1;
        turns.call();
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use futures::future::poll_fn;

    use super::*;

    #[test]
    fn who_waits_is_called_when_it_is_their_turn() {
        let comparisons = Comparisons::default();
        let called = || poll_fn(|cx| comparisons.poll_called(cx)).now_or_never();
        let mut turns: Vec<_> = (0..AT_ONCE)
            .map(|number| comparisons.turn(&number.to_string()).expect("a turn"))
            .collect();
        for name in ["b", "a", "b"] {
            assert!(comparisons.turn(name).is_none(), "{name} has to wait");
        }
        assert_eq!(called(), None, "everybody is still at it");

        turns.pop();
        assert_eq!(called().as_deref(), Some("a"));
        assert_eq!(called(), None, "there is one turn");
        let turn = comparisons.turn("a");
        assert!(turn.is_some());
        drop(turn);
        assert_eq!(called().as_deref(), Some("b"));
        assert_eq!(called(), None, "nobody waits twice");

        // It was called, and does not need to compare any more.
        assert!(comparisons.turn("c").is_some(), "so its turn is free");
        turns.clear();
        assert_eq!(called(), None, "nobody waits");

        for name in ["e", "d"] {
            comparisons.wait(name);
        }
        assert_eq!(called(), None, "they wait for Helm to rest");
        comparisons.call();
        assert_eq!(called().as_deref(), Some("d"));
        assert_eq!(called().as_deref(), Some("e"));
    }
}
