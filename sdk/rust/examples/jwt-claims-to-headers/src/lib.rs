//! Lets requests with a valid token (JWT, HS256) through and tells the app about its claims.

use bext_plugin::json::Value;
use bext_plugin::{clock, config, crypto, encoding, secret, Answer, Outcome, Request, Result};

bext_plugin::export! {
    on_request: authenticate,
}

/// RFC 7518 §3.2
const MIN_SECRET_BYTES: usize = 32;
const MAX_CLAIM_BYTES: usize = 1024;

fn authenticate(request: &mut Request) -> Result<Outcome> {
    let prefix = config::get("header_prefix").unwrap_or_default();
    remove_forged_headers(request, &prefix)?;
    let secret = secret("JWT_SECRET")?;
    if secret.len() < MIN_SECRET_BYTES {
        return Err("JWT_SECRET has less than 32 bytes".into());
    }
    let authorization = match request.header("authorization")? {
        Some(authorization) => authorization,
        None => return Ok(refuse("Bearer", "a token is needed\n")),
    };
    let claims = bearer_token(&authorization)
        .and_then(|token| verified_claims(token, &secret))
        .filter(|claims| is_current(claims) && is_for_us(claims));
    match claims {
        Some(claims) => {
            set_claim_headers(request, &claims, &prefix)?;
            Ok(Outcome::Continue)
        }
        None => Ok(refuse("Bearer error=\"invalid_token\"", "the token is not valid\n")),
    }
}

/// Nobody but a token may say who the user is.
fn remove_forged_headers(request: &mut Request, prefix: &str) -> Result<()> {
    for (name, _) in request.headers()? {
        if name.starts_with(prefix) {
            request.remove_header(&name)?;
        }
    }
    Ok(())
}

/// None: these are other credentials.
fn bearer_token(authorization: &str) -> Option<&str> {
    let (scheme, token) = authorization.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim_start_matches(' '))
}

/// None: the token is not one that the owner of the secret has signed. Source: RFC 7515 §5.2.
fn verified_claims(token: &str, secret: &str) -> Option<Value> {
    let (signed, signature) = token.rsplit_once('.')?;
    let (header, payload) = signed.split_once('.')?;
    let header = decode(header)?;
    if header.get("alg")?.as_str() != Some("HS256") || header.get("crit").is_some() {
        return None;
    }
    let expected = crypto::hmac_sha256(secret, signed).ok()?;
    if !crypto::equal(&encoding::from_base64url(signature)?, &expected) {
        return None;
    }
    decode(payload).filter(|claims| claims.as_object().is_some())
}

fn decode(part: &str) -> Option<Value> {
    Value::parse(&String::from_utf8(encoding::from_base64url(part)?).ok()?)
}

/// Source: RFC 7519 §4.1.4 and §4.1.5.
fn is_current(claims: &Value) -> bool {
    let now = clock::now_ms() as f64 / 1000.0;
    let leeway: f64 = config::parse("leeway_seconds").unwrap_or(0.0);
    let expired = claims.get("exp").and_then(Value::as_f64).map_or(true, |expiry| now >= expiry + leeway);
    let begun = claims.get("nbf").map_or(true, |start| start.as_f64().map_or(false, |start| now >= start - leeway));
    !expired && begun
}

/// Source: RFC 7519 §4.1.1 and §4.1.3.
fn is_for_us(claims: &Value) -> bool {
    let is = |claim: &Value, expected: &str| claim.as_str() == Some(expected);
    let issuer =
        config::get("issuer").map_or(true, |issuer| claims.get("iss").map_or(false, |claim| is(claim, &issuer)));
    let audience = config::get("audience").map_or(true, |audience| match claims.get("aud") {
        Some(Value::List(audiences)) => audiences.iter().any(|claim| is(claim, &audience)),
        Some(claim) => is(claim, &audience),
        None => false,
    });
    issuer && audience
}

fn set_claim_headers(request: &mut Request, claims: &Value, prefix: &str) -> Result<()> {
    let names = config::get("claims").and_then(|json| Value::parse(&json));
    for name in names.as_ref().and_then(Value::as_list).unwrap_or_default() {
        let name = name.as_str().unwrap_or_default();
        if let Some(value) = claims.get(name).and_then(header_value) {
            request.set_header(&format!("{prefix}{}", name.to_ascii_lowercase().replace('_', "-")), &value)?;
        }
    }
    Ok(())
}

/// None: it could not be a header's value as it is.
fn header_value(claim: &Value) -> Option<String> {
    match claim {
        Value::String(text) => is_plain(text).then(|| text.clone()),
        Value::Number(_) | Value::Bool(_) => Some(claim.to_string()).filter(|text| text.len() <= MAX_CLAIM_BYTES),
        _ => None,
    }
}

fn is_plain(text: &str) -> bool {
    (1..=MAX_CLAIM_BYTES).contains(&text.len())
        && text.bytes().all(|byte| (b' '..=b'~').contains(&byte))
        && text.split(' ').all(|word| !word.is_empty())
}

fn refuse(challenge: &str, why: &str) -> Outcome {
    Answer::new(401)
        .header("www-authenticate", challenge)
        .header("cache-control", "no-store")
        .header("content-type", "text/plain; charset=utf-8")
        .body(why)
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_text_has_single_spaces_inside() {
        assert!(is_plain("two words"));
        for text in ["", " a", "a ", "a  b", "a\tb", "é", &"a".repeat(1025)] {
            assert!(!is_plain(text), "{text}");
        }
    }
}
