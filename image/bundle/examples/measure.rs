//! What an update costs: `measure NEW OLD` makes a bundle of one image against
//! another, plans it for a box that runs the old one, and prints the bytes.
//! Images that are not whole blocks are padded with zeros.

use roost_bundle::{
    Action, ActiveSlot, Builder, Hash, Local, Plan, Release, SigningKey, Tables, TrustedKeys,
    Unverified, limits::BLOCK, plan,
};
use std::error::Error;
use std::io::Cursor;
use std::time::Instant;

fn image(path: Option<String>) -> Result<Vec<u8>, Box<dyn Error>> {
    let mut bytes = std::fs::read(path.ok_or("usage: measure NEW OLD")?)?;
    bytes.resize(bytes.len().next_multiple_of(BLOCK), 0);
    Ok(bytes)
}

fn tell(name: &str, tables: &Tables, local: &mut impl Local) {
    let Plan {
        actions,
        send,
        copied,
        ..
    } = plan(tables, local);
    let deltas = |a: &&Action| matches!(a, Action::Delta { .. });
    println!(
        "{name}: {send} bytes to send in {} steps, {} of them deltas; {copied} bytes copied",
        actions.len(),
        actions.iter().filter(deltas).count()
    );
}

/// Which parts of the slot must be sent, runs of neighbours in one line.
fn tell_places(tables: &Tables, local: &mut impl Local) {
    let mut runs: Vec<(&str, u64, u64, u64)> = Vec::new();
    for action in plan(tables, local).actions {
        let Some(payload) = action.payload() else {
            continue;
        };
        let kind = match action {
            Action::Delta { .. } => "as deltas",
            _ => "plain",
        };
        let chunks = &tables.chunks()[action.chunks()];
        let len: u64 = chunks.iter().map(|c| u64::from(c.len)).sum();
        let sent = payload.end - payload.start;
        match runs.last_mut() {
            Some(run) if run.0 == kind && run.1 + run.2 == chunks[0].at => {
                run.2 += len;
                run.3 += sent;
            }
            _ => runs.push((kind, chunks[0].at, len, sent)),
        }
    }
    for (kind, at, len, sent) in runs {
        println!("    {len} bytes at {at}: {sent} {kind}");
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let (new, old) = (image(args.next())?, image(args.next())?);
    let key = SigningKey::from_seed(&[1; 32]);
    let release = Release {
        boards: ["virt".to_owned()].into(),
        version: 2,
        name: "measured".into(),
        min_version: 1,
        created: 0,
        reversible: true,
        mail_store: 1,
        settings_format: 1,
        components: Vec::new(),
        notes: String::new(),
    };
    let mut bundle = Vec::new();
    let threads = std::thread::available_parallelism()?.get();
    let start = Instant::now();
    let summary = Builder::new(release, Hash([0; 32]), &key)
        .threads(threads)
        .write(
            &mut Cursor::new(&new[..]),
            &mut [Cursor::new(&old[..])],
            &mut bundle,
        )?;
    println!("{summary:?}");
    println!("built in {:.1} s", start.elapsed().as_secs_f32());

    let mut from = &bundle[..];
    let verified = Unverified::read(&mut from)?.verify(&TrustedKeys::new([key.public()]))?;
    let tables = verified.read_tables(&mut from)?;
    let plain: u64 = tables
        .chunks()
        .iter()
        .filter(|chunk| !chunk.is_zero())
        .map(|chunk| u64::from(chunk.stored))
        .sum();
    println!("whole bundle: {} bytes, chunks {plain}", bundle.len());
    tell("empty box", &tables, &mut ());
    let start = Instant::now();
    let mut active = ActiveSlot::read(Cursor::new(&old))?;
    tell("box with the old image", &tables, &mut active);
    tell_places(&tables, &mut active);
    println!("planned in {:.1} s", start.elapsed().as_secs_f32());
    Ok(())
}
