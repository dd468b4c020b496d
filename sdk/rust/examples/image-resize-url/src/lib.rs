//! Short addresses for resized images, signed for imgproxy: <https://docs.imgproxy.net/usage/signing_url>.

use bext_plugin::{config, crypto, encoding, secret, Answer, Error, Outcome, Request, Result};

bext_plugin::export! {
    on_request: rewrite,
}

const MAX_IMAGE_BYTES: usize = 1024;

fn rewrite(request: &mut Request) -> Result<Outcome> {
    let prefix = setting("prefix");
    let path = request.path();
    let rest = match path.strip_prefix(&prefix) {
        Some(rest) => rest,
        None => return Ok(Outcome::Continue),
    };
    if !matches!(request.method().as_str(), "GET" | "HEAD") {
        return Ok(plain(Answer::new(405).header("allow", "GET, HEAD"), "use GET or HEAD\n".into()));
    }
    match parse(rest) {
        Some((options, image)) => request.set_path(&signed_path(&options, image)?).map(|()| Outcome::Continue),
        None => Ok(plain(Answer::new(400), format!("use {prefix}w=300,h=200,fit=fill/path/of/image\n"))),
    }
}

#[derive(Debug, Default, PartialEq)]
struct Options {
    width: Option<u32>,
    height: Option<u32>,
    fit: Option<&'static str>,
}

/// None: it is not OPTIONS/IMAGE.
fn parse(rest: &str) -> Option<(Options, &str)> {
    let (list, image) = rest.split_once('/')?;
    let mut options = Options::default();
    for option in list.split(',') {
        match option.split_once('=')? {
            ("w", digits) => set_once(&mut options.width, parse_pixels(digits)?)?,
            ("h", digits) => set_once(&mut options.height, parse_pixels(digits)?)?,
            ("fit", "fit") => set_once(&mut options.fit, "fit")?,
            ("fit", "fill") => set_once(&mut options.fit, "fill")?,
            _ => return None,
        }
    }
    let sized = options.width.or(options.height).is_some();
    (sized && (1..=MAX_IMAGE_BYTES).contains(&image.len())).then_some((options, image))
}

fn set_once<T>(option: &mut Option<T>, value: T) -> Option<()> {
    option.replace(value).is_none().then_some(())
}

/// 1 to 5 digits, not 0.
fn parse_pixels(digits: &str) -> Option<u32> {
    let plain = digits.len() <= 5 && digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse().ok().filter(|pixels| plain && *pixels > 0)
}

/// Source: <https://docs.imgproxy.net/usage/processing>
fn signed_path(options: &Options, image: &str) -> Result<String> {
    let target = format!(
        "/rs:{}:{}:{}/{}",
        options.fit.unwrap_or("fit"),
        at_most(options.width, "max_width"),
        at_most(options.height, "max_height"),
        encoding::to_base64url(setting("source") + image)
    );
    let message = [hex_secret("IMAGE_SALT")?, target.clone().into_bytes()].concat();
    let signature = crypto::hmac_sha256(hex_secret("IMAGE_KEY")?, message)?;
    Ok(format!("{}/{}{target}", setting("service_prefix"), encoding::to_base64url(signature)))
}

/// 0, "as the image is", for what is not given.
fn at_most(pixels: Option<u32>, setting: &str) -> u32 {
    pixels.map_or(0, |pixels| pixels.min(config::parse(setting).unwrap_or(1)))
}

fn hex_secret(name: &str) -> Result<Vec<u8>> {
    let bytes = encoding::from_hex(&secret(name)?).filter(|bytes| !bytes.is_empty());
    bytes.ok_or_else(|| Error::new(format!("{name} must be hexadecimal")))
}

/// All settings have defaults.
fn setting(key: &str) -> String {
    config::get(key).unwrap_or_default()
}

fn plain(answer: Answer, body: String) -> Outcome {
    answer.header("content-type", "text/plain; charset=utf-8").body(body).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_come_in_any_order_once_each() {
        let both = Options { width: Some(5), height: Some(7), fit: Some("fill") };
        assert_eq!(parse("fit=fill,h=7,w=5/a/b.png"), Some((both, "a/b.png")));
        for rest in ["w=1", "w=1/", "/a", "fit=fit/a", "w=1,w=1/a", "w=+1/a", "w=000000/a", "w=1,/a"] {
            assert_eq!(parse(rest), None, "{rest}");
        }
    }
}
