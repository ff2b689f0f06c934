//! What the store knows of tags, as the database says it: fresh for seconds, and good for minutes while that is away.

use std::sync::Arc;

use catalog::{Catalog, Tag};
use chrono::{DateTime, Utc};
use tokio::time::timeout;

use crate::answers::{Answers, Ends, FRESH, PATIENCE};
use crate::error::Error;

/// All tags.
#[derive(Debug, Default)]
pub(crate) struct Known(pub(crate) Vec<Tag>);

impl Ends for Known {
    fn is_over(&self, _: DateTime<Utc>) -> bool {
        false
    }
}

/// Tags as the catalog knows them.
#[derive(Debug)]
pub(crate) struct Tags {
    catalog: Catalog,
    answers: Answers<(), Known>,
}

impl Tags {
    #[must_use]
    pub(crate) fn new(catalog: Catalog) -> Self {
        Self {
            catalog,
            answers: Answers::new(),
        }
    }

    /// All of them, by name, as they were seconds ago at most.
    ///
    /// # Errors
    /// [`Error::CatalogAway`] when the database is away and was not asked lately: nobody may be let in by what tags may not
    /// say any more.
    pub(crate) async fn all(&self) -> Result<Arc<Known>, Error> {
        let ask = || async {
            let tags = timeout(PATIENCE, self.catalog.tags()).await??;
            Ok(Some(Known(tags)))
        };
        let known = self.answers.get(&(), FRESH, ask).await?;
        Ok(known.unwrap_or_default())
    }

    /// Forgets what was known, so that a change counts here at once.
    pub(crate) fn forget(&self) {
        self.answers.forget(&());
    }
}
