//! The functions of the import module `bext`, as they are in docs/wasm-abi.md, made safe. Nothing else in this crate is
//! unsafe: addresses and lengths begin and end here.
#![allow(unsafe_code)]

use std::alloc::{alloc, Layout};
use std::cell::UnsafeCell;

use crate::error::{Error, Result};

macro_rules! imports {
    ($(fn $name:ident($($arg:ident: $type:ty),*) $(-> $result:ty)?;)*) => {
        mod abi {
            #[cfg(target_arch = "wasm32")]
            #[link(wasm_import_module = "bext")]
            extern "C" {
                $(pub fn $name($($arg: $type),*) $(-> $result)?;)*
            }

            $(
                #[cfg(not(target_arch = "wasm32"))]
                pub unsafe fn $name($(_: $type),*) $(-> $result)? {
                    panic!(concat!(stringify!($name), " is a function of bext: it is there in a plugin that bext runs"))
                }
            )*
        }
    };
}

imports! {
    fn get_method() -> i64;
    fn get_path() -> i64;
    fn get_query() -> i64;
    fn get_scheme() -> i64;
    fn get_host() -> i64;
    fn get_client_address() -> i64;
    fn get_request_id() -> i64;
    fn get_upgrade() -> i64;
    fn get_tenant_id() -> i64;
    fn get_site_id() -> i64;
    fn get_user() -> i64;
    fn get_header(side: i32, name: *const u8, name_len: usize) -> i64;
    fn get_headers(side: i32) -> i64;
    fn set_header(side: i32, name: *const u8, name_len: usize, value: *const u8, value_len: usize) -> i32;
    fn append_header(side: i32, name: *const u8, name_len: usize, value: *const u8, value_len: usize) -> i32;
    fn remove_header(side: i32, name: *const u8, name_len: usize) -> i32;
    fn set_path(text: *const u8, text_len: usize) -> i32;
    fn set_query(text: *const u8, text_len: usize) -> i32;
    fn set_method(text: *const u8, text_len: usize) -> i32;
    fn set_tenant_id(text: *const u8, text_len: usize) -> i32;
    fn set_site_id(text: *const u8, text_len: usize) -> i32;
    fn set_user(json: *const u8, json_len: usize) -> i32;
    fn get_extension(key: *const u8, key_len: usize) -> i64;
    fn set_extension(key: *const u8, key_len: usize, value: *const u8, value_len: usize) -> i32;
    fn get_body_size(side: i32) -> i32;
    fn read_body(side: i32, offset: usize, buffer: *mut u8, buffer_len: usize) -> i32;
    fn set_body(side: i32, bytes: *const u8, bytes_len: usize) -> i32;
    fn get_status() -> i32;
    fn set_status(status: i32) -> i32;
    fn respond(status: i32, headers: *const u8, headers_len: usize, body: *const u8, body_len: usize) -> i32;
    fn is_leader() -> i32;
    fn get_config(key: *const u8, key_len: usize) -> i64;
    fn get_secret(name: *const u8, name_len: usize) -> i64;
    fn log(level: *const u8, level_len: usize, message: *const u8, message_len: usize);
    fn emit_metric(name: *const u8, name_len: usize, value: f64, tags: *const u8, tags_len: usize);
    fn storage_get(key: *const u8, key_len: usize) -> i64;
    fn storage_set(key: *const u8, key_len: usize, value: *const u8, value_len: usize) -> i32;
    fn storage_set_ttl(key: *const u8, key_len: usize, value: *const u8, value_len: usize, ttl_ms: i64) -> i32;
    fn storage_delete(key: *const u8, key_len: usize) -> i32;
    fn storage_keys(prefix: *const u8, prefix_len: usize, limit: i32) -> i64;
    fn storage_incr(key: *const u8, key_len: usize, by: i64, ttl_ms: i64, value_out: *mut i64) -> i32;
    fn storage_cas(key: *const u8, key_len: usize, expected: *const u8, expected_len: i32, value: *const u8, value_len: usize, ttl_ms: i64) -> i32;
    fn storage_flush() -> i32;
    fn queue_push(queue: *const u8, queue_len: usize, json: *const u8, json_len: usize, key: *const u8, key_len: usize, delay_ms: i64) -> i64;
    fn http_fetch(request_json: *const u8, request_json_len: usize) -> i64;
    fn http_fetch_body() -> i64;
    fn clock_now() -> i64;
    fn clock_monotonic() -> i64;
    fn random(buffer: *mut u8, buffer_len: usize) -> i32;
    fn sha256(bytes: *const u8, bytes_len: usize, out: *mut u8) -> i32;
    fn hmac_sha256(key: *const u8, key_len: usize, bytes: *const u8, bytes_len: usize, out: *mut u8) -> i32;
    fn ed25519_verify(public_key: *const u8, signature: *const u8, message: *const u8, message_len: usize) -> i32;
    fn last_error() -> i64;
    fn fail(message: *const u8, message_len: usize);
}

// ---- memory ---------------------------------------------------------------------------------------------------------

/// Memory for what the host hands over: [`take`] makes a `Vec` of it.
pub fn allocate(size: usize) -> *mut u8 {
    match Layout::array::<u8>(size.max(1)) {
        // SAFETY: the layout's size is not zero.
        Ok(layout) => unsafe { alloc(layout) },
        Err(_) => std::ptr::null_mut(),
    }
}

/// What the host wrote for a hook: memory from [`allocate`], of that length, which is nobody else's.
pub fn take(address: usize, len: usize) -> Vec<u8> {
    // SAFETY: docs/wasm-abi.md, "A buffer result": the memory comes from `bext_alloc(max(len, 1))`, is filled with `len`
    // bytes and belongs to the guest; each is taken once, where it arrives.
    unsafe { Vec::from_raw_parts(address as *mut u8, len, len.max(1)) }
}

/// What a hook gave back: the host reads it once the hook has returned, and frees nothing.
struct Returned(UnsafeCell<Vec<u8>>);

// SAFETY: an instance has one thread, and a suspended one is not entered again.
unsafe impl Sync for Returned {}

static RETURNED: Returned = Returned(UnsafeCell::new(Vec::new()));

/// The buffer result for `bytes`, which stay until the next hook gives something back.
pub fn give_back(bytes: Vec<u8>) -> i64 {
    // SAFETY: as for `Sync`; no reference to it leaves this function.
    let kept = unsafe { &mut *RETURNED.0.get() };
    *kept = bytes;
    ((kept.as_ptr() as usize as u64) << 32 | kept.len() as u64) as i64
}

// ---- results --------------------------------------------------------------------------------------------------------

fn number(result: i32) -> Result<u32> {
    u32::try_from(result).map_err(|_| Error::of_host(result))
}

fn done(result: i32) -> Result<()> {
    number(result).map(drop)
}

fn buffer(result: i64) -> Result<Option<Vec<u8>>> {
    let (address, len) = ((result as u64 >> 32) as usize, result as u32);
    match (address, len as i32) {
        (0, 0) => Ok(None),
        (0, code) => Err(Error::of_host(code)),
        _ => Ok(Some(take(address, len as usize))),
    }
}

fn optional_text(result: i64) -> Result<Option<String>> {
    Ok(buffer(result)?.map(text_of))
}

/// Text that every request has.
fn text(result: i64) -> String {
    match buffer(result) {
        Ok(bytes) => bytes.map_or_else(String::new, text_of),
        Err(error) => panic!("{error}"),
    }
}

/// The host writes UTF-8.
pub fn text_of(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

// ---- request and response -------------------------------------------------------------------------------------------

/// 0: request, 1: response.
pub type Side = i32;

macro_rules! texts {
    ($($name:ident = $import:ident),*) => {
        $(pub fn $name() -> String {
            // SAFETY: no pointers.
            text(unsafe { abi::$import() })
        })*
    };
}

macro_rules! optional_texts {
    ($($name:ident = $import:ident),*) => {
        $(pub fn $name() -> Result<Option<String>> {
            // SAFETY: no pointers.
            optional_text(unsafe { abi::$import() })
        })*
    };
}

/// Functions that take texts and answer 0.
macro_rules! setters {
    ($($name:ident($($arg:ident),*)),*) => {
        $(pub fn $name($($arg: &str),*) -> Result<()> {
            // SAFETY: address and length are those of the texts.
            done(unsafe { abi::$name($($arg.as_ptr(), $arg.len()),*) })
        })*
    };
}

texts!(
    method = get_method,
    path = get_path,
    query = get_query,
    scheme = get_scheme,
    host = get_host,
    client_address = get_client_address,
    request_id = get_request_id
);
optional_texts!(upgrade = get_upgrade, tenant_id = get_tenant_id, site_id = get_site_id, user = get_user);
setters!(
    set_path(path),
    set_query(query),
    set_method(method),
    set_tenant_id(id),
    set_site_id(id),
    set_user(json),
    set_extension(key, value)
);

pub fn header(side: Side, name: &str) -> Result<Option<String>> {
    // SAFETY: address and length are those of the text.
    optional_text(unsafe { abi::get_header(side, name.as_ptr(), name.len()) })
}

/// A list of pairs.
pub fn headers(side: Side) -> Result<Vec<u8>> {
    // SAFETY: no pointers.
    Ok(buffer(unsafe { abi::get_headers(side) })?.unwrap_or_default())
}

pub fn set_header(side: Side, name: &str, value: &str) -> Result<()> {
    // SAFETY: addresses and lengths are those of the texts.
    done(unsafe { abi::set_header(side, name.as_ptr(), name.len(), value.as_ptr(), value.len()) })
}

pub fn append_header(side: Side, name: &str, value: &str) -> Result<()> {
    // SAFETY: addresses and lengths are those of the texts.
    done(unsafe { abi::append_header(side, name.as_ptr(), name.len(), value.as_ptr(), value.len()) })
}

pub fn remove_header(side: Side, name: &str) -> Result<()> {
    // SAFETY: address and length are those of the text.
    done(unsafe { abi::remove_header(side, name.as_ptr(), name.len()) })
}

pub fn extension(key: &str) -> Result<Option<String>> {
    // SAFETY: address and length are those of the text.
    optional_text(unsafe { abi::get_extension(key.as_ptr(), key.len()) })
}

pub fn body_size(side: Side) -> Result<usize> {
    // SAFETY: no pointers.
    number(unsafe { abi::get_body_size(side) }).map(|size| size as usize)
}

pub fn read_body(side: Side, offset: usize, into: &mut [u8]) -> Result<usize> {
    // SAFETY: the host writes at most `into.len()` bytes there.
    number(unsafe { abi::read_body(side, offset, into.as_mut_ptr(), into.len()) }).map(|read| read as usize)
}

pub fn set_body(side: Side, bytes: &[u8]) -> Result<()> {
    // SAFETY: address and length are those of the slice.
    done(unsafe { abi::set_body(side, bytes.as_ptr(), bytes.len()) })
}

pub fn status() -> Result<u16> {
    // SAFETY: no pointers.
    number(unsafe { abi::get_status() }).map(|status| status as u16)
}

pub fn set_status(status: u16) -> Result<()> {
    // SAFETY: no pointers.
    done(unsafe { abi::set_status(status.into()) })
}

/// `headers`: a list of pairs.
pub fn respond(status: u16, headers: &[u8], body: &[u8]) -> Result<()> {
    // SAFETY: addresses and lengths are those of the slices.
    done(unsafe { abi::respond(status.into(), headers.as_ptr(), headers.len(), body.as_ptr(), body.len()) })
}

pub fn is_leader() -> bool {
    // SAFETY: no pointers.
    unsafe { abi::is_leader() == 1 }
}

// ---- what the plugin has --------------------------------------------------------------------------------------------

pub fn config(key: &str) -> Result<Option<String>> {
    // SAFETY: address and length are those of the text.
    optional_text(unsafe { abi::get_config(key.as_ptr(), key.len()) })
}

pub fn secret(name: &str) -> Result<Option<String>> {
    // SAFETY: address and length are those of the text.
    optional_text(unsafe { abi::get_secret(name.as_ptr(), name.len()) })
}

pub fn log(level: &str, message: &str) {
    // SAFETY: addresses and lengths are those of the texts.
    unsafe { abi::log(level.as_ptr(), level.len(), message.as_ptr(), message.len()) }
}

pub fn metric(name: &str, value: f64, tags_json: &str) {
    // SAFETY: addresses and lengths are those of the texts.
    unsafe { abi::emit_metric(name.as_ptr(), name.len(), value, tags_json.as_ptr(), tags_json.len()) }
}

pub fn storage_get(key: &str) -> Result<Option<Vec<u8>>> {
    // SAFETY: address and length are those of the text.
    buffer(unsafe { abi::storage_get(key.as_ptr(), key.len()) })
}

pub fn storage_set(key: &str, value: &[u8]) -> Result<()> {
    // SAFETY: addresses and lengths are those of the slices.
    done(unsafe { abi::storage_set(key.as_ptr(), key.len(), value.as_ptr(), value.len()) })
}

pub fn storage_set_ttl(key: &str, value: &[u8], ttl_ms: i64) -> Result<()> {
    // SAFETY: addresses and lengths are those of the slices.
    done(unsafe { abi::storage_set_ttl(key.as_ptr(), key.len(), value.as_ptr(), value.len(), ttl_ms) })
}

pub fn storage_delete(key: &str) -> Result<bool> {
    // SAFETY: address and length are those of the text.
    number(unsafe { abi::storage_delete(key.as_ptr(), key.len()) }).map(|there| there == 1)
}

/// Texts, each followed by NUL.
pub fn storage_keys(prefix: &str, limit: i32) -> Result<Vec<u8>> {
    // SAFETY: address and length are those of the text.
    Ok(buffer(unsafe { abi::storage_keys(prefix.as_ptr(), prefix.len(), limit) })?.unwrap_or_default())
}

pub fn storage_incr(key: &str, by: i64, ttl_ms: i64) -> Result<i64> {
    let mut value = 0;
    // SAFETY: address and length are those of the text; the host writes one i64 to `value`.
    done(unsafe { abi::storage_incr(key.as_ptr(), key.len(), by, ttl_ms, &mut value) })?;
    Ok(value)
}

pub fn storage_cas(key: &str, expected: Option<&[u8]>, value: &[u8], ttl_ms: i64) -> Result<bool> {
    let (expected, expected_len) =
        expected.map_or((std::ptr::null(), -1), |bytes| (bytes.as_ptr(), bytes.len() as i32));
    // SAFETY: addresses and lengths are those of the slices; with the length -1 the address is not looked at.
    number(unsafe {
        abi::storage_cas(key.as_ptr(), key.len(), expected, expected_len, value.as_ptr(), value.len(), ttl_ms)
    })
    .map(|set| set == 1)
}

pub fn storage_flush() -> Result<()> {
    // SAFETY: no pointers.
    done(unsafe { abi::storage_flush() })
}

/// An empty key: no order.
pub fn queue_push(queue: &str, json: &str, key: &str, delay_ms: i64) -> Result<String> {
    // SAFETY: addresses and lengths are those of the texts.
    let id = optional_text(unsafe {
        abi::queue_push(queue.as_ptr(), queue.len(), json.as_ptr(), json.len(), key.as_ptr(), key.len(), delay_ms)
    })?;
    Ok(id.unwrap_or_default())
}

/// JSON for JSON.
pub fn fetch(request: &str) -> Result<String> {
    // SAFETY: address and length are those of the text.
    Ok(optional_text(unsafe { abi::http_fetch(request.as_ptr(), request.len()) })?.unwrap_or_default())
}

pub fn fetch_body() -> Result<Vec<u8>> {
    // SAFETY: no pointers.
    Ok(buffer(unsafe { abi::http_fetch_body() })?.unwrap_or_default())
}

// ---- clock, random, cryptography ------------------------------------------------------------------------------------

pub fn now_ms() -> i64 {
    // SAFETY: no pointers.
    unsafe { abi::clock_now() }
}

pub fn monotonic_ms() -> i64 {
    // SAFETY: no pointers.
    unsafe { abi::clock_monotonic() }
}

pub fn random(into: &mut [u8]) -> Result<()> {
    // SAFETY: the host writes `into.len()` bytes there.
    done(unsafe { abi::random(into.as_mut_ptr(), into.len()) })
}

pub fn sha256(bytes: &[u8]) -> Result<[u8; 32]> {
    let mut digest = [0; 32];
    // SAFETY: address and length are those of the slice; the host writes 32 bytes to `digest`.
    done(unsafe { abi::sha256(bytes.as_ptr(), bytes.len(), digest.as_mut_ptr()) })?;
    Ok(digest)
}

pub fn hmac_sha256(key: &[u8], bytes: &[u8]) -> Result<[u8; 32]> {
    let mut digest = [0; 32];
    // SAFETY: addresses and lengths are those of the slices; the host writes 32 bytes to `digest`.
    done(unsafe { abi::hmac_sha256(key.as_ptr(), key.len(), bytes.as_ptr(), bytes.len(), digest.as_mut_ptr()) })?;
    Ok(digest)
}

pub fn ed25519_verify(public_key: &[u8; 32], signature: &[u8; 64], message: &[u8]) -> Result<bool> {
    // SAFETY: address and length of the message are those of the slice; the others have the lengths the host reads.
    number(unsafe { abi::ed25519_verify(public_key.as_ptr(), signature.as_ptr(), message.as_ptr(), message.len()) })
        .map(|valid| valid == 1)
}

// ---- errors ---------------------------------------------------------------------------------------------------------

/// `E_CODE: what happened`; empty: nothing did.
pub fn last_error() -> String {
    // SAFETY: no pointers.
    text(unsafe { abi::last_error() })
}

pub fn fail(message: &str) {
    // SAFETY: address and length are those of the text.
    unsafe { abi::fail(message.as_ptr(), message.len()) }
}
