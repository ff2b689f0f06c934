//! Kubernetes Events. They are told on the side: one that cannot be written fails nothing.

use k8s_openapi::api::core::v1::ObjectReference;
use kube::Client;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use tracing::debug;

/// The name under which the operator writes.
pub(crate) const FIELD_MANAGER: &str = "wavestore-operator";

/// Most bytes of an Event's note.
const MAX_NOTE: usize = 1000;

/// The one writer of Events.
pub(crate) struct Events {
    recorder: Recorder,
}

/// How an Event looks in `kubectl describe`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tone {
    /// As wanted.
    Normal,
    /// Worth a look.
    Warning,
}

impl Events {
    pub(crate) fn new(client: Client) -> Self {
        let reporter = Reporter {
            controller: FIELD_MANAGER.to_owned(),
            instance: None,
        };
        Self {
            recorder: Recorder::new(client, reporter),
        }
    }

    pub(crate) async fn tell(
        &self,
        object: &ObjectReference,
        tone: Tone,
        reason: &str,
        action: &str,
        note: &str,
    ) {
        let event = Event {
            type_: match tone {
                Tone::Normal => EventType::Normal,
                Tone::Warning => EventType::Warning,
            },
            reason: reason.to_owned(),
            note: Some(cut(note, MAX_NOTE).to_owned()),
            action: action.to_owned(),
            secondary: None,
        };
        if let Err(error) = self.recorder.publish(&event, object).await {
            debug!(
                error = &error as &dyn std::error::Error,
                "Could not write an Event of `{}`",
                object.name.as_deref().unwrap_or_default()
            );
        }
    }
}

/// The first `limit` bytes of `text`, without cutting a character.
pub(crate) fn cut(text: &str, limit: usize) -> &str {
    let mut end = text.len().min(limit);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}
