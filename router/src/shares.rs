//! Shares: how much of something bounded each of its users may have at once, so that one cannot take it all.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;

use parking_lot::Mutex;

/// What is taken, by user. A clone counts together with its original.
#[derive(Debug)]
pub(crate) struct Shares<K> {
    taken: Arc<Mutex<HashMap<K, usize>>>,
    limit: usize,
}

impl<K> Clone for Shares<K> {
    fn clone(&self) -> Self {
        Self {
            taken: self.taken.clone(),
            limit: self.limit,
        }
    }
}

impl<K: Clone + Eq + Hash> Shares<K> {
    /// At most `limit` for each user.
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            taken: Arc::default(),
            limit,
        }
    }

    /// One more for `user`, until it is dropped, if there is room.
    pub(crate) fn take(&self, user: K) -> Option<Share<K>> {
        let mut taken = self.taken.lock();
        let count = taken.get(&user).copied().unwrap_or_default();
        if count >= self.limit {
            return None;
        }
        taken.insert(user.clone(), count + 1);
        Some(Share {
            taken: self.taken.clone(),
            user,
        })
    }
}

/// One of what a user has.
#[derive(Debug)]
pub(crate) struct Share<K: Eq + Hash> {
    taken: Arc<Mutex<HashMap<K, usize>>>,
    user: K,
}

impl<K: Eq + Hash> Drop for Share<K> {
    fn drop(&mut self) {
        let mut taken = self.taken.lock();
        if let Some(count) = taken.get_mut(&self.user) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.user);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_user_has_a_share_and_leaves_nothing_behind() {
        let shares = Shares::new(2);
        let first = shares.take("sales");
        let second = shares.take("sales");
        assert!(first.is_some() && second.is_some());
        assert!(shares.take("sales").is_none());
        let other = shares.take("other");
        assert!(other.is_some());
        drop(first);
        assert!(shares.take("sales").is_some());
        drop((second, other));
        assert_eq!(shares.taken.lock().len(), 0);
    }
}
