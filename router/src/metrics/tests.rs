//! What Prometheus sees, and that dashboard, alerts and documents speak of nothing else.
