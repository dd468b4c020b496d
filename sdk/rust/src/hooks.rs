//! Between what the host calls and the functions of the plugin. [`export!`](crate::export) writes the calls.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::answer::Outcome;
use crate::error::{Code, Error, Result};
use crate::host;
use crate::message::{Request, Response};

/// Makes functions the plugin's hooks. Each line is optional, and there is one `export!` in a plugin.
///
/// | hook | function |
/// |---|---|
/// | `on_request` | `fn(&mut Request) -> Result<Outcome>` |
/// | `on_response` | `fn(&Request, &mut Response) -> Result<()>` |
/// | `on_server_start`, `on_server_stop`, `on_request_complete`, `on_cache_invalidate`, `on_reload`, `on_queue_message`, `cleanup` | `fn(&str) -> Result<()>`: the event as JSON |
/// | `on_cache_write` | `fn(key: &str, tags_json: &str) -> Result<()>` |
/// | `transform` | `fn(source: &str, path: &str, env_json: &str) -> Result<Option<String>>`; none: unchanged |
/// | `cache_get`, `cache_set`, `cache_delete`, `cache_invalidate_tag`, `cache_invalidate_path`, `cache_is_healthy` | `fn(&str) -> Result<Option<String>>`: JSON for JSON |
///
/// ```
/// use bext_plugin::{Request, Response, Result};
///
/// fn start(config: &str) -> Result<()> {
///     bext_plugin::info!("my settings are {config}");
///     Ok(())
/// }
///
/// fn mark(_: &Request, response: &mut Response) -> Result<()> {
///     response.set_header("x-marked", "yes")
/// }
///
/// bext_plugin::export! {
///     on_server_start: start,
///     on_response: mark,
/// }
/// # fn main() {}
/// ```
#[macro_export]
macro_rules! export {
    ($($hook:ident: $function:path),+ $(,)?) => {
        // A function of the plugin may have the name of its hook: those that the host calls are in a scope of their own.
        const _: () = {
            #[export_name = "bext_alloc"]
            extern "C" fn exported(size: usize) -> *mut u8 {
                $crate::hooks::allocate(size)
            }
        };
        $($crate::__export_hook!($hook, $function);)+
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __export_hook {
    (on_request, $function:path) => {
        const _: () = {
            #[export_name = "on_request"]
            extern "C" fn exported() -> i32 {
                $crate::hooks::on_request($function)
            }
        };
    };
    (on_response, $function:path) => {
        const _: () = {
            #[export_name = "on_response"]
            extern "C" fn exported() -> i32 {
                $crate::hooks::on_response($function)
            }
        };
    };
    (on_cache_write, $function:path) => {
        const _: () = {
            #[export_name = "on_cache_write"]
            extern "C" fn exported(key: usize, key_len: usize, tags: usize, tags_len: usize) -> i32 {
                $crate::hooks::on_cache_write([(key, key_len), (tags, tags_len)], $function)
            }
        };
    };
    (transform, $function:path) => {
        const _: () = {
            #[export_name = "transform"]
            extern "C" fn exported(
                source: usize,
                source_len: usize,
                path: usize,
                path_len: usize,
                env: usize,
                env_len: usize,
            ) -> i64 {
                $crate::hooks::transform([(source, source_len), (path, path_len), (env, env_len)], $function)
            }
        };
    };
    (on_server_start, $function:path) => { $crate::__export_hook!(@event "on_server_start", $function); };
    (on_server_stop, $function:path) => { $crate::__export_hook!(@event "on_server_stop", $function); };
    (on_request_complete, $function:path) => { $crate::__export_hook!(@event "on_request_complete", $function); };
    (on_cache_invalidate, $function:path) => { $crate::__export_hook!(@event "on_cache_invalidate", $function); };
    (on_reload, $function:path) => { $crate::__export_hook!(@event "on_reload", $function); };
    (on_queue_message, $function:path) => { $crate::__export_hook!(@event "on_queue_message", $function); };
    (cleanup, $function:path) => { $crate::__export_hook!(@event "cleanup", $function); };
    (cache_get, $function:path) => { $crate::__export_hook!(@cache "cache_get", $function); };
    (cache_set, $function:path) => { $crate::__export_hook!(@cache "cache_set", $function); };
    (cache_delete, $function:path) => { $crate::__export_hook!(@cache "cache_delete", $function); };
    (cache_invalidate_tag, $function:path) => { $crate::__export_hook!(@cache "cache_invalidate_tag", $function); };
    (cache_invalidate_path, $function:path) => { $crate::__export_hook!(@cache "cache_invalidate_path", $function); };
    (cache_is_healthy, $function:path) => { $crate::__export_hook!(@cache "cache_is_healthy", $function); };
    (@event $name:literal, $function:path) => {
        const _: () = {
            #[export_name = $name]
            extern "C" fn exported(json: usize, json_len: usize) -> i32 {
                $crate::hooks::event((json, json_len), $function)
            }
        };
    };
    (@cache $name:literal, $function:path) => {
        const _: () = {
            #[export_name = $name]
            extern "C" fn exported(json: usize, json_len: usize) -> i64 {
                $crate::hooks::cache((json, json_len), $function)
            }
        };
    };
    ($hook:ident, $function:path) => {
        compile_error!(concat!("bext has no hook ", stringify!($hook)));
    };
}

/// Address and length of what the host wrote.
pub type Written = (usize, usize);

pub use crate::host::allocate;

pub fn on_request(hook: fn(&mut Request) -> Result<Outcome>) -> i32 {
    log_panics();
    let outcome = hook(&mut Request::of_this_call());
    match outcome {
        Ok(Outcome::Continue) => 0,
        Ok(Outcome::Answer(answer)) => answer.send().map_or_else(|error| failed(&error), |()| 1),
        Err(error) => failed(&error),
    }
}

pub fn on_response(hook: fn(&Request, &mut Response) -> Result<()>) -> i32 {
    log_panics();
    done(hook(&Request::of_this_call(), &mut Response::of_this_call()))
}

pub fn event(json: Written, hook: fn(&str) -> Result<()>) -> i32 {
    log_panics();
    done(hook(&text(json)))
}

pub fn on_cache_write([key, tags]: [Written; 2], hook: fn(&str, &str) -> Result<()>) -> i32 {
    log_panics();
    done(hook(&text(key), &text(tags)))
}

pub fn transform([source, path, env]: [Written; 3], hook: fn(&str, &str, &str) -> Result<Option<String>>) -> i64 {
    log_panics();
    give_back(hook(&text(source), &text(path), &text(env)))
}

pub fn cache(json: Written, hook: fn(&str) -> Result<Option<String>>) -> i64 {
    log_panics();
    give_back(hook(&text(json)))
}

fn text((address, len): Written) -> String {
    host::text_of(host::take(address, len))
}

fn done(result: Result<()>) -> i32 {
    result.map_or_else(|error| failed(&error), |()| 0)
}

fn give_back(result: Result<Option<String>>) -> i64 {
    match result {
        Ok(None) => 0,
        Ok(Some(text)) => host::give_back(text.into_bytes()),
        Err(error) => i64::from(failed(&error) as u32),
    }
}

fn failed(error: &Error) -> i32 {
    // What it refused last, the host knows better.
    if error.code() == Code::Guest || error.message() != host::last_error() {
        host::fail(error.message());
    }
    error.code().number()
}

/// A panic is a trap to the host, which knows where it was and not why: that goes to the log.
fn log_panics() {
    static LOGGED: AtomicBool = AtomicBool::new(false);
    if !LOGGED.swap(true, Ordering::Relaxed) {
        std::panic::set_hook(Box::new(|panic| host::log("error", &panic.to_string())));
    }
}
