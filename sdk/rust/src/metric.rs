use crate::host;
use crate::json;

/// Records one sample of the plugin's metric `name`.
///
/// ```no_run
/// bext_plugin::metric("redirects", 1.0, &[("country", "de")]);
/// ```
pub fn metric(name: &str, value: f64, tags: &[(&str, &str)]) {
    let mut text = String::new();
    if !tags.is_empty() {
        text.push('{');
        for (i, (key, value)) in tags.iter().enumerate() {
            text.push_str(if i == 0 { "" } else { "," });
            json::write_string(&mut text, key);
            text.push(':');
            json::write_string(&mut text, value);
        }
        text.push('}');
    }
    host::metric(name, value, &text);
}
