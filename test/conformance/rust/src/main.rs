//! Lists events and verifies a delivery with the crate workos, and prints the result of
//! each step as a line of JSON.
//!
//! COUNTERSIGN_URL and COUNTERSIGN_API_KEY name the server, and COUNTERSIGN_PLAN is a plan
//! of ../events_test.go, which also has the expected results.

use std::env;
use std::error::Error as StdError;
use std::process::ExitCode;

use futures_util::TryStreamExt;
use serde_json::{Value, json};

use workos::events::ListEventsParams;
use workos::{Client, Error, WebhookVerifier};

/// The version in Cargo.toml; the crate does not tell its own version.
const VERSION: &str = "3.5.0";

type Failure = Box<dyn StdError>;

/// What a step reports.
#[derive(Default)]
struct Outcome {
    ids: Vec<String>,
    detail: String,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<ExitCode, Failure> {
    let plan: Value = serde_json::from_str(&env::var("COUNTERSIGN_PLAN")?)?;
    let client =
        Client::builder().api_key(env::var("COUNTERSIGN_API_KEY")?).base_url(env::var("COUNTERSIGN_URL")?).build();
    let steps = [
        ("list events", list(&client, &plan, |_| ()).await),
        ("list events page by page", list_all(&client, &plan).await),
        (
            "list events in a range",
            list(&client, &plan, |p| {
                p.range_start = text(&plan["range_start"]).into();
                p.range_end = text(&plan["range_end"]).into();
            })
            .await,
        ),
        ("list events after an event", list(&client, &plan, |p| p.after = text(&plan["after"]).into()).await),
        ("list events of an unknown type", unknown(&client, &plan).await),
        ("verify a delivery", verify(&plan["delivery"])),
    ];
    let mut failed = false;
    for (name, result) in steps {
        failed |= result.is_err();
        let ok = result.is_ok();
        let outcome = result.unwrap_or_else(|e| Outcome { detail: format!("{e}: {e:?}"), ..Default::default() });
        println!(
            "{}",
            json!({ "library": "workos", "version": VERSION, "step": name, "ok": ok,
                "detail": outcome.detail, "ids": outcome.ids })
        );
    }
    Ok(ExitCode::from(u8::from(failed)))
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_string()
}

fn params(plan: &Value, limit: i64) -> ListEventsParams {
    let types = plan["types"].as_array().into_iter().flatten().map(text).collect();
    let mut params = ListEventsParams::new(types);
    params.limit = Some(limit);
    params
}

async fn list(client: &Client, plan: &Value, change: impl Fn(&mut ListEventsParams)) -> Result<Outcome, Failure> {
    let mut params = params(plan, 100);
    change(&mut params);
    let page = client.events().list_events(params).await?;
    let ids = page.data.into_iter().map(|e| e.id).collect();
    Ok(Outcome { ids, ..Default::default() })
}

async fn list_all(client: &Client, plan: &Value) -> Result<Outcome, Failure> {
    let events = client.events();
    let all: Vec<_> = events.list_events_auto_paging(params(plan, 2)).try_collect().await?;
    let ids = all.into_iter().map(|e| e.id).collect();
    Ok(Outcome { ids, ..Default::default() })
}

async fn unknown(client: &Client, plan: &Value) -> Result<Outcome, Failure> {
    let params = ListEventsParams::new(vec![text(&plan["unknown"])]);
    match client.events().list_events(params).await {
        Err(Error::Api(e)) if e.status == 422 => {
            let body: Value = serde_json::from_slice(&e.raw_body)?;
            match body["errors"][0]["code"].as_str() {
                Some("events_unknown_type") => Ok(Outcome::default()),
                _ => Err(body.to_string().into()),
            }
        }
        other => Err(format!("{other:?}").into()),
    }
}

fn verify(delivery: &Value) -> Result<Outcome, Failure> {
    let (body, signature) = (text(&delivery["body"]), text(&delivery["signature"]));
    let verifier = WebhookVerifier::new(text(&delivery["secret"]));
    let altered = body.replace("succeeded", "failed");
    match verifier.construct_event(&signature, &altered) {
        Err(Error::Webhook(_)) => {}
        other => return Err(format!("an altered delivery: {other:?}").into()),
    }
    let event = verifier.construct_event(&signature, &body)?;
    Ok(Outcome { ids: vec![event.id], detail: text(&event.data["user_id"]) })
}
