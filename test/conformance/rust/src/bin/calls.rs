//! Makes the calls that it reads, one per line, with the crate workos; ../../../kinds_test.go
//! documents the form. The crate has no method for any other request.

use std::env;
use std::error::Error as StdError;
use std::io::{BufRead, stdin};

use serde_json::{Value, json};

use workos::Client;
use workos::multi_factor_auth::{ChallengeFactorParams, EnrollFactorParams, VerifyChallengeParams};

type Failure = Box<dyn StdError>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let client =
        Client::builder().api_key(env::var("COUNTERSIGN_API_KEY")?).base_url(env::var("COUNTERSIGN_URL")?).build();
    println!("{}", json!({ "version": "3.5.0" })); // as in Cargo.toml; the crate does not tell its own version
    for line in stdin().lock().lines() {
        let call: Value = serde_json::from_str(&line?)?;
        match make(&client, &call).await {
            Ok(value) => println!("{}", json!({ "value": value })),
            Err(e) => println!("{}", json!({ "error": format!("{e}: {e:?}") })),
        }
    }
    Ok(())
}

async fn make(client: &Client, call: &Value) -> Result<Value, Failure> {
    let text = |i: usize| call[i].as_str().unwrap_or_default().to_string();
    let mfa = client.multi_factor_auth();
    match text(0).as_str() {
        "enroll" => {
            let body = serde_json::from_value(json!({ "type": text(1) }))?;
            Ok(json!({ "id": mfa.enroll_factor(EnrollFactorParams::new(body)).await?.id }))
        }
        "challenge" => {
            let body = serde_json::from_value(json!({}))?;
            let challenge = mfa.challenge_factor(&text(1), ChallengeFactorParams::new(body)).await?;
            Ok(json!({ "id": challenge.id, "code": challenge.code.map(|c| c.expose().to_string()) }))
        }
        "verify" => {
            let body = serde_json::from_value(json!({ "code": text(2) }))?;
            Ok(json!({ "valid": mfa.verify_challenge(&text(1), VerifyChallengeParams::new(body)).await?.valid }))
        }
        other => Err(format!("no call {other}").into()),
    }
}
