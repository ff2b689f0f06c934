//! How the store's pages look: wide and on a phone, in light and in the dark, and whether everybody can use them.

use std::{fs, path::Path};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::Browser;
use crate::web_driver::Command;

/// What axe-core finds wrong with the page, in a line each.
const PROBLEMS: &str = "
const [done] = arguments;
axe.run().then(found => done(found.violations.flatMap(rule =>
    rule.nodes.map(node => `${rule.id}: ${node.html}: ${node.failureSummary}`))));
";

/// What reaches over the edge.
const TOO_WIDE: &str = "
const edge = document.documentElement.clientWidth;
return [...document.querySelectorAll('body *')]
    .filter(part => part.getBoundingClientRect().right > edge + 1 && !part.closest('.hidden, [hidden], .skip'))
    .map(part => part.outerHTML.slice(0, 200));
";

impl Browser {
    /// Looks at the page wide and on a phone, in light and in the dark, and saves pictures of it under `WAVESTORE_SCREENSHOTS`, when
    /// that is set.
    ///
    /// # Errors
    /// axe-core finds something wrong, or something reaches over the page's edge.
    pub async fn looks(&self, name: &str) -> Result<()> {
        let axe = std::env::var("AXE").context("`make test-router` says where axe-core is")?;
        let axe = fs::read_to_string(axe)?;
        for (device, width, height) in [("", 1280, 900), ("-phone", 390, 844)] {
            let metrics = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500 });
            self.tell("Emulation.setDeviceMetricsOverride", metrics)
                .await?;
            for (scheme, end) in [("dark", "-dark"), ("light", "")] {
                let features = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
                self.tell(
                    "Emulation.setEmulatedMedia",
                    json!({ "features": features }),
                )
                .await?;
                let name = format!("{name}{device}{end}");
                self.screenshot(&name).await?;
                self.page.execute(&axe, Vec::new()).await?;
                let problems = self.page.execute_async(PROBLEMS, Vec::new()).await?;
                ensure!(problems == json!([]), "{name}: {problems:#}");
                let wide = self.page.execute(TOO_WIDE, Vec::new()).await?;
                ensure!(wide == json!([]), "{name} is too wide: {wide:#}");
            }
        }
        self.tell("Emulation.clearDeviceMetricsOverride", json!({}))
            .await
    }

    async fn tell(&self, command: &'static str, parameters: Value) -> Result<()> {
        let command = Command::chromium(command, &parameters);
        self.page.issue_cmd(command).await?;
        Ok(())
    }

    /// Saves a picture of the page under `WAVESTORE_SCREENSHOTS`, when that is set.
    ///
    /// # Errors
    /// It cannot be taken or saved.
    pub async fn screenshot(&self, name: &str) -> Result<()> {
        if let Some(folder) = std::env::var_os("WAVESTORE_SCREENSHOTS") {
            fs::create_dir_all(&folder)?;
            let picture = self.page.screenshot().await?;
            fs::write(Path::new(&folder).join(format!("{name}.png")), picture)?;
        }
        Ok(())
    }
}
