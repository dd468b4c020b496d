//! Greets the app and the client in a header each.

use bext_plugin::{config, Outcome, Request, Response, Result};

bext_plugin::export! {
    on_request: greet_app,
    on_response: greet_client,
}

fn greet_app(request: &mut Request) -> Result<Outcome> {
    request.set_header(&setting("request_header"), &format!("bext says {}", setting("greeting")))?;
    Ok(Outcome::Continue)
}

fn greet_client(request: &Request, response: &mut Response) -> Result<()> {
    let name = request.header("x-name")?.filter(|name| (1..=64).contains(&name.len()));
    let greeting = format!("{}, {}", setting("greeting"), name.as_deref().unwrap_or("world"));
    response.set_header(&setting("response_header"), &greeting)
}

/// All settings have defaults.
fn setting(key: &str) -> String {
    config::get(key).unwrap_or_default()
}
