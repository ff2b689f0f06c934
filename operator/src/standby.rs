//! What is reconciled when: nothing while this process stands by, everything known when it begins to lead, then
//! what changes. The watches run all the time, so whoever takes over knows the world already.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;

use futures::{FutureExt, StreamExt, stream};
use kube::Resource;
use kube::runtime::reflector::{ObjectRef, Store};
use kube::runtime::watcher;

use crate::lease::Leadership;
use crate::watches::Queue;

/// Whether a watch is in the middle of a list: what it has read of that is queued already, and in the store only at its end.
#[derive(Clone)]
pub(crate) struct Listing(Arc<AtomicBool>);

impl Listing {
    /// Of a watch that has not begun yet.
    pub(crate) fn new() -> Self {
        Self(Arc::new(AtomicBool::new(true)))
    }

    /// Notes an event that the store has taken in.
    pub(crate) fn note<K>(&self, event: &watcher::Event<K>) {
        match event {
            watcher::Event::Init => self.0.store(true, Ordering::Relaxed),
            watcher::Event::InitDone => self.0.store(false, Ordering::Relaxed),
            watcher::Event::InitApply(_) | watcher::Event::Apply(_) | watcher::Event::Delete(_) => {
            }
        }
    }

    fn is_going_on(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Drops what is queued while this process stands by; then yields everything that is known, and what is queued after that.
/// Errors of the watches are told all the time.
pub(crate) fn until_leading<K>(
    mut queue: Queue<K>,
    known: Store<K>,
    listing: Listing,
    leadership: &Leadership,
) -> Queue<K>
where
    K: Resource<DynamicType = ()> + Clone + Send + Sync + 'static,
{
    let mut begun = leadership.begun().boxed();
    let (mut stands_by, mut leads) = (true, false);
    let mut backlog: VecDeque<ObjectRef<K>> = VecDeque::new();
    stream::poll_fn(move |context| {
        loop {
            if let Some(object) = backlog.pop_front() {
                return Poll::Ready(Some(Ok(object)));
            }
            let polled = queue.poll_next_unpin(context);
            if !stands_by {
                return polled;
            }
            match polled {
                // The store has it, or will have it at the end of the list.
                Poll::Ready(Some(Ok(_))) => {}
                Poll::Ready(Some(Err(_)) | None) => return polled,
                Poll::Pending => {
                    leads = leads || begun.poll_unpin(context).is_ready();
                    // The end of a list wakes us through the queue.
                    if !leads || listing.is_going_on() {
                        return Poll::Pending;
                    }
                    stands_by = false;
                    let all = known.state();
                    backlog.extend(all.iter().map(|object| ObjectRef::from_obj(&**object)));
                }
            }
        }
    })
    .boxed()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::runtime::{WatchStreamExt, reflector};
    use tokio::sync::mpsc;
    use tokio::time::Instant;
    use watcher::Event;

    use super::*;

    fn named(name: &str) -> ConfigMap {
        let mut object = ConfigMap::default();
        object.metadata.name = Some(name.to_owned());
        object
    }

    #[tokio::test]
    async fn who_takes_over_begins_with_all_that_is_known() {
        let (sender, mut events) = mpsc::channel(16);
        let (known, writer) = reflector::store();
        let listing = Listing::new();
        let noted = listing.clone();
        let queue = stream::poll_fn(move |context| events.poll_recv(context))
            .map(Ok)
            .reflect(writer)
            .inspect(move |event| noted.note(event.as_ref().expect("an event")))
            .applied_objects()
            .map(|object| object.map(|object| ObjectRef::from_obj(&object)))
            .boxed();
        let leadership = Leadership::default();
        let mut queue = until_leading(queue, known, listing, &leadership);
        let send = |event| sender.try_send(event).expect("room");
        let names = |queue: &mut Queue<ConfigMap>| {
            let mut names = Vec::new();
            while let Some(Some(object)) = queue.next().now_or_never() {
                names.push(object.expect("an object").name);
            }
            names.sort();
            names
        };

        send(Event::Init);
        send(Event::InitApply(named("a")));
        send(Event::InitApply(named("b")));
        send(Event::InitDone);
        send(Event::Delete(named("b")));
        send(Event::Apply(named("c")));
        assert_eq!(names(&mut queue), [""; 0], "standing by");

        // Taking over in the middle of a list that has new objects.
        send(Event::Init);
        send(Event::InitApply(named("a")));
        send(Event::InitApply(named("d")));
        assert_eq!(names(&mut queue), [""; 0], "standing by, listing");
        leadership.lead(Instant::now() + Duration::from_hours(1));
        assert_eq!(names(&mut queue), [""; 0], "leading, listing");
        send(Event::InitDone);
        assert_eq!(names(&mut queue), ["a", "d"], "leading");
        send(Event::Apply(named("a")));
        assert_eq!(names(&mut queue), ["a"], "what changes");
    }
}
