// What Rust's library asks of WASI, from a handler of the http-wasm ABI. Reports on standard output.
use std::io::Read;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

#[link(wasm_import_module = "http_handler")]
extern "C" {
    fn get_uri(buffer: *mut u8, limit: u32) -> u32;
}

#[no_mangle]
pub extern "C" fn handle_request() -> i64 {
    let mut uri = [0u8; 64];
    let length = unsafe { get_uri(uri.as_mut_ptr(), 64) } as usize;
    match &uri[..length] {
        b"/exit" => std::process::exit(5),
        b"/panic" => panic!("on purpose"),
        b"/sleep" => std::thread::sleep(Duration::from_secs(3600)),
        _ => (),
    }
    println!("arguments: {} environment: {}", std::env::args().count(), std::env::vars().count());
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    println!("time: {}", now.as_secs() > 1_700_000_000 && Instant::now().elapsed() < Duration::from_secs(60));
    println!("open: {:?}", std::fs::File::open("/etc/passwd").map_err(|error| error.kind()).err());
    println!("stdin: {:?}", std::io::stdin().read(&mut [0u8; 8]).ok());
    // Seeded by the host's random bytes.
    let seeded = std::collections::HashMap::from([(1, 2)]);
    println!("map: {:?}", seeded.get(&1));
    eprint!("a warning without an end");
    1
}

#[no_mangle]
pub extern "C" fn handle_response(_context: u32, _is_error: u32) {}
