//! Backups: how they stand, where they go, and the code that opens them.

use super::page::{
    self, Field, Kind, Page, Tone, Trouble, badge, fault, note, sentence, sentence_with_code, token,
};
use super::visit::{Fields, Order, Signed};
use super::words::{bytes, times};
use crate::actions::backups::{self, NotDone};
use crate::app::App;
use crate::audit::Actor;
use crate::time::Wall;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use maud::{Markup, html};
use roost_service::backup::{
    BackupFailure as Failure, BackupStatus as Status, HostKey, Made, NoTarget, SERVICE, SFTP,
    Secret, SftpPlace, SftpTarget, Target, UsbPlace, Work,
};
use roost_service::disk::Disk;
use std::sync::Arc;

type Shell = State<Arc<App>>;

/// What is said above the page after an order, and what was typed.
#[derive(Default)]
struct Say {
    above: Option<Markup>,
    typed: Option<Typed>,
    server: Server,
    /// The USB disks that are plugged in, once somebody has asked for them.
    disks: Option<Vec<Disk>>,
}

/// What is known of an SFTP server before the box backs up there.
#[derive(Default)]
struct Server {
    /// What was typed.
    place: String,
    /// The host key that it shows, to be confirmed.
    shown: Option<HostKey>,
}

/// The fields of a target, but for its secret, which is typed anew each time.
struct Typed {
    place: String,
    endpoint: String,
    region: String,
    key_id: String,
}

impl Typed {
    fn of(fields: &Fields) -> Self {
        let text = |name| fields.get(name).trim().to_owned();
        Self {
            place: text("place"),
            endpoint: text("endpoint"),
            region: text("region"),
            key_id: text("key_id"),
        }
    }

    fn before(target: Option<&Target>) -> Self {
        let bucket = match target {
            Some(Target::S3(bucket)) => Some(bucket),
            _ => None,
        };
        Self {
            place: bucket.map(ToString::to_string).unwrap_or_default(),
            endpoint: bucket.map(|of| of.endpoint.clone()).unwrap_or_default(),
            region: bucket.map(|of| of.region.clone()).unwrap_or_default(),
            key_id: bucket.map(|of| of.key_id.clone()).unwrap_or_default(),
        }
    }
}

/// GET /backups: a piece of it for a script.
pub async fn show(State(app): Shell, headers: HeaderMap, signed: Signed) -> Response {
    let status = backups::status(&app).await;
    if headers.contains_key("x-roost-poll") {
        return page::piece(&stand(&status));
    }
    show_page(&app, &signed, &status, &Say::default()).await
}

async fn show_page(
    app: &App,
    signed: &Signed,
    status: &Result<Status, NotDone>,
    say: &Say,
) -> Response {
    // Without, the page says where else it is to be had.
    let key = match status {
        Ok(_) => backups::key(app).await.ok(),
        Err(_) => None,
    };
    let content = html! {
        @if let Some(above) = &say.above { (above) }
        p.lead {
            "A backup has everything: mail, accounts, keys and settings, encrypted before it leaves the box. With it and the "
            "recovery code, a new card is the same box again; without the code nobody can open it."
        }
        div.cards {
            section.card {
                h2 { "Now" }
                div aria-live="polite" data-poll="/backups" data-every="5" { (stand(status)) }
                noscript { p { a href="/backups" { "Look again" } } }
                @if let Ok(Status { target: Some(_), made, .. }) = status {
                    (order(signed, "now", html! { button { "Back up now" } }))
                    @if made.is_some() {
                        (order(signed, "prove", html! {
                            p { "The box reads the newest backup back once a week by itself. That takes as long as a restore would." }
                            button.quiet { "Prove it now" }
                        }))
                    }
                }
            }
            @if let Ok(status) = status {
                (target(signed, status, say, key.as_deref()))
                section.card {
                    h2 { "Recovery code" }
                    p {
                        "Twelve words that open every backup of this box. Write them on paper, and keep that away from the box and "
                        "from the backups."
                    }
                    (order(signed, "code", html! {
                        label.check { input type="checkbox" name="sure" value="yes" required; span { "Nobody looks at my screen" } }
                        button.quiet { "Show the code" }
                    }))
                    p.detail { "That it was shown is noted in the activity." }
                }
                section.card {
                    h2 { "On a laptop" }
                    p { "A paired laptop fetches backups into a folder of its own, e.g. on a USB disk, where this box can remove none:" }
                    p { code { "roost backup FOLDER" } }
                    @if let Some(fetched) = &status.fetched { p { "The newest was fetched on " (Wall(fetched.at)) "." } }
                    p { "A new card from any of them: " code { "roost restore" } "." }
                }
            }
        }
    };
    Page::new(app, signed, "/backups", "Backups").show(content)
}

/// How backups stand.
fn stand(status: &Result<Status, NotDone>) -> Markup {
    let status = match status {
        Ok(status) => status,
        Err(why) => {
            return html! {
                p { (badge(Tone::Bad, "does not answer")) " " (sentence(why)) }
                p { a href={ "/logs?service=" (SERVICE) } { "Its log" } " says more." }
            };
        }
    };
    let (tone, word) = match (status.newest(), &status.target) {
        (None, _) => (Tone::Bad, "no backup yet"),
        (Some(_), None) => (Tone::Warning, "by hand only"),
        (Some(_), Some(_)) if sound(status) => (Tone::Good, "backed up"),
        (Some(_), Some(_)) => (Tone::Warning, "look"),
    };
    html! {
        p {
            (badge(tone, word)) " "
            @match &status.target {
                Some(target) => { "Once a day to " code { (target) } "." }
                None => "If the card fails, what was not backed up by a laptop is lost.",
            }
        }
        @if let Some(running) = &status.running {
            p {
                @match running.what {
                    Work::Backup => "A backup is being made",
                    Work::Proof => "The newest backup is being read back",
                    Work::Forgetting => "Old backups are being removed",
                }
                @if running.of > 0 { ": " (bytes(running.read)) " of " (bytes(running.of)) }
                "."
            }
        }
        dl {
            @if let Some(made) = &status.made { dt { "Newest" } dd { (of(made)) } }
            @if let Some(since) = status.waits_since {
                dt { "Next" } dd { "as soon as its disk is plugged in; due since " (Wall(since)) }
            } @else if let Some(next) = status.next_at { dt { "Next" } dd { (Wall(next)) } }
            @if status.target.is_some() {
                @match &status.proof {
                    Some(proof) if proof.fault.is_none() => {
                        dt { "Proven" } dd { (Wall(proof.at)) ": " (proof.files) " files came back as they went in" }
                    }
                    Some(proof) => { dt { "Proven" } dd { "not: it was tried on " (Wall(proof.at)) } }
                    None => { dt { "Proven" } dd { "not yet" } }
                }
                dt { "Old ones" }
                dd {
                    @if status.forgets {
                        "seven days, five weeks and twelve months are kept"
                        @if let Some(at) = status.forgotten_at { "; last looked through on " (Wall(at)) }
                    } @else { "all are kept: none may be removed there" }
                }
            }
        }
        @if let Some(failure) = &status.failure { (failed("The last backup failed", failure)) }
        @if let Some(fault) = status.proof.as_ref().and_then(|proof| proof.fault.as_ref()) {
            p { strong { "The newest backup did not come back as it went in." } " " (sentence(fault)) }
            p { strong { "What to do: " } "Back up to another prefix or folder; what is damaged would be used again at this one." }
        }
        @if let Some(failure) = &status.proof_failure { (failed("Reading it back came to no end", failure)) }
        @if let Some(failure) = &status.forget_failure { (failed("Old ones were not removed", failure)) }
    }
}

/// Whether nothing is to be looked at.
fn sound(status: &Status) -> bool {
    let faulty = status
        .proof
        .as_ref()
        .is_some_and(|proof| proof.fault.is_some());
    status.made.is_some() && status.failure.is_none() && status.proof_failure.is_none() && !faulty
}

fn of(made: &Made) -> Markup {
    html! { (Wall(made.at)) ": " (made.files) " files, " (bytes(made.bytes)) ", of which " (bytes(made.added)) " were new" }
}

fn failed(what: &str, failure: &Failure) -> Markup {
    html! {
        p { strong { (what) ", " (times(failure.times)) "." } " " (sentence(&failure.why)) }
        @if let Some(hint) = &failure.hint { p { strong { "What to do: " } (sentence_with_code(hint)) } }
    }
}

fn order(signed: &Signed, what: &str, content: Markup) -> Markup {
    html! {
        form method="post" action="/backups" {
            (token(&signed.form))
            input type="hidden" name="do" value=(what);
            (content)
        }
    }
}

/// Where the box backs up to.
fn target(signed: &Signed, status: &Status, say: &Say, key: Option<&str>) -> Markup {
    let (before, typed_wrong) = (&status.target, say.typed.as_ref());
    let server = server(signed, before.as_ref(), &say.server, key);
    let disk = disk(signed, say.disks.as_deref());
    let before;
    let typed = match typed_wrong {
        Some(typed) => typed,
        None => {
            before = Typed::before(status.target.as_ref());
            &before
        }
    };
    let field = |name, label, help, value, required| {
        Field {
            name,
            label,
            help: Some(help),
            value,
            required,
            ..Field::default()
        }
        .show()
    };
    let form = order(
        signed,
        "set",
        html! {
            (field("place", "Place", "Bucket and prefix, e.g. `s3://backups/attic`. Each box has a prefix of its own.", &typed.place, true))
            (field("endpoint", "Address of the server", "E.g. `https://s3.example.net`. Amazon’s needs none.", &typed.endpoint, false))
            (field("region", "Region", "If the server has several.", &typed.region, false))
            (field("key_id", "Access key", "Its name, e.g. `AKIAIOSFODNN7EXAMPLE`.", &typed.key_id, true))
            (Field { name: "secret", label: "Secret key", help: Some("It is kept on the box alone, and never shown again."), kind: Kind::Password, ..Field::default() }.show())
            button { "Try it, and use it" }
        },
    );
    html! {
        section.card {
            h2 { "Where the box backs up to" }
            @match &status.target {
                None => {
                    p { "To a bucket of an S3 server of your own: Amazon’s, another provider’s, or one at a friend’s home. The box tries it before it keeps it." }
                    (form)
                    (server)
                    (disk)
                }
                Some(target) => {
                    dl {
                        dt { "Place" } dd { code { (target) } }
                        @match target {
                            Target::S3(bucket) => {
                                dt { "Server" } dd { (bucket.endpoint) }
                                dt { "Region" } dd { (bucket.region) }
                                dt { "Access key" } dd { code { (bucket.key_id) } }
                            }
                            Target::Sftp(server) => {
                                dt { "Server" } dd { (server.address()) }
                                dt { "Its host key" } dd { code { (server.host_key) } }
                            }
                            Target::Usb(usb) => {
                                dt { "Disk" } dd { (usb.disk) }
                            }
                        }
                    }
                    @if target.is_open() {
                        p { (badge(Tone::Warning, "not encrypted on the way")) " Backups themselves are; but whoever listens can see when there is one, and repeat what the box has asked for a few minutes." }
                    }
                    details open[typed_wrong.is_some()] { summary { "Another bucket, or another key" } (form) }
                    (server)
                    (disk)
                    details {
                        summary { "Use it no more" }
                        (order(signed, "remove", html! {
                            p { "What lies there stays. The box makes no backups by itself from then on." }
                            label.check { input type="checkbox" name="sure" value="yes" required; span { "I am sure" } }
                            button.danger { "Use it no more" }
                        }))
                    }
                }
            }
        }
    }
}

/// A folder of an SFTP server: first which server it is, then how the box signs in there.
fn server(signed: &Signed, target: Option<&Target>, server: &Server, key: Option<&str>) -> Markup {
    let before = match target {
        Some(Target::Sftp(before)) => before.to_string(),
        _ => String::new(),
    };
    let typed = match server.place.as_str() {
        "" => &before,
        typed => typed,
    };
    let folder = Field {
        scope: "sftp",
        name: "server",
        label: "Folder of the server",
        help: Some(
            "E.g. `sftp://roost@nas.local/backups/attic`, or with `/~/` from where the account begins.",
        ),
        value: typed,
        required: true,
        ..Field::default()
    };
    let password = Field {
        scope: "sftp",
        name: "password",
        label: "Password of the account",
        help: Some(
            "Leave it empty if the server knows the box’s key. It is kept on the box alone.",
        ),
        kind: Kind::Password,
        ..Field::default()
    };
    html! {
        details open[!server.place.is_empty()] {
            summary { "A folder of an SFTP server: a NAS, or a machine of a friend" }
            p { "Let the server know the box’s key: this line belongs into the file " code { "authorized_keys" } " of the account there. A password does, too." }
            @match key {
                Some(key) => p.mono { code #ssh-key { (key) } },
                None => p { code { "roost backup target key" } " shows it." },
            }
            @match &server.shown {
                None => (order(signed, "look", html! {
                    (folder.show())
                    button { "Look which server it is" }
                })),
                Some(shown) => (order(signed, "server", html! {
                    p { code { (server.place) } " shows the host key " code #host-key { (shown) } "." }
                    p { "Compare it with what the server says of itself, e.g. with " code { "ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub" } " there. From then on the box talks to no other." }
                    input type="hidden" name="server" value=(server.place);
                    input type="hidden" name="host_key" value=(shown);
                    (password.show())
                    label.check { input type="checkbox" name="sure" value="yes" required; span { "This is its host key" } }
                    button { "Try it, and use it" }
                })),
            }
        }
    }
}

/// A USB disk that is plugged into the box: first which there are.
fn disk(signed: &Signed, disks: Option<&[Disk]>) -> Markup {
    html! {
        details open[disks.is_some()] {
            summary { "A USB disk that is plugged into the box" }
            p { "With FAT, exFAT or ext4. It is mounted only while the box is at work there; pull it out at any other time, and backups wait for it." }
            @match disks {
                None => {}
                Some([]) => p { "No USB disk is plugged in. One that was just plugged in needs some seconds." },
                Some(disks) => ul #disks {
                    @for disk in disks {
                        li {
                            @match &disk.mark {
                                Some(mark) => { strong { (mark) } ", " }
                                None => {}
                            }
                            (bytes(disk.bytes)) ", " (disk.model) " (" (disk.name) ")"
                            @match (&disk.problem, disk.usable()) {
                                (Some(problem), _) => {
                                    p { (badge(Tone::Warning, "cannot be used")) " " (sentence(problem)) }
                                    @if let Some(hint) = &disk.hint { p { strong { "What to do: " } (sentence(hint)) } }
                                }
                                (None, Some(mark)) => (order(signed, "disk", html! {
                                    input type="hidden" name="id" value=(mark.id);
                                    button { "Try it, and use it" }
                                })),
                                (None, None) => {}
                            }
                        }
                    }
                },
            }
            (order(signed, "disks", html! { button.quiet { "Look which disks are plugged in" } }))
        }
    }
}

/// The words of the code, to be written down.
pub fn words(code: &str) -> Markup {
    html! {
        ol.words #recovery-code { @for word in code.split(' ') { li { (word) } } }
    }
}

/// POST /backups
pub async fn change(State(app): Shell, order: Order) -> Result<Response, Trouble> {
    let from = order.by.place.from;
    let fields = &order.fields;
    let owner = Actor::Owner;
    let (mut typed, mut server, mut disks) = (None, Server::default(), None);
    let sure = fields.get("sure") == "yes";
    let good = |text: &str| Ok(note(Tone::Good, html! { p { (text) } }));
    let result = match fields.get("do") {
        "set" => {
            let given = typed.insert(Typed::of(fields));
            match chosen(given, &fields.secret("secret")) {
                Ok((target, secret)) => {
                    match backups::set(&app, target, Some(secret), owner, from).await {
                        Ok(()) => good("It works, and is kept. The first backup begins now."),
                        Err(not) => Err(not),
                    }
                }
                Err(not) => Err(not),
            }
        }
        "look" => {
            server.place = fields.get("server").trim().to_owned();
            match look(&app, &server.place).await {
                Ok(shown) => {
                    server.shown = Some(shown);
                    Ok(note(
                        Tone::Good,
                        html! { p { "The server answers. Is it the right one? See below." } },
                    ))
                }
                Err(not) => Err(not),
            }
        }
        "server" if sure => {
            server.place = fields.get("server").trim().to_owned();
            server.shown = fields.get("host_key").parse().ok();
            match signs_in(&server, &fields.secret("password")) {
                Ok((target, secret)) => match backups::set(&app, target, secret, owner, from).await
                {
                    Ok(()) => {
                        server = Server::default();
                        good("It works, and is kept. The first backup begins now.")
                    }
                    Err(not) => Err(not),
                },
                Err(not) => Err(not),
            }
        }
        "disks" => match backups::disks(&app).await {
            Ok(found) => {
                disks = Some(found);
                good("See below which USB disks are plugged in.")
            }
            Err(not) => Err(not),
        },
        "disk" => match plugged(&app, fields.get("id")).await {
            Ok(target) => match backups::set(&app, target, None, owner, from).await {
                Ok(()) => good("It works, and is kept. The first backup begins now."),
                Err(not) => Err(not),
            },
            Err(not) => Err(not),
        },
        "remove" if sure => match backups::remove(&app, owner, from).await {
            Ok(()) => good("The box makes no backups by itself any more."),
            Err(not) => Err(not),
        },
        "now" => match backups::begin(&app).await {
            Ok(()) => good("A backup is being made; see below how far it is."),
            Err(not) => Err(not),
        },
        "prove" => match backups::prove(&app).await {
            Ok(()) => good("The newest backup is being read back; see below what is found."),
            Err(not) => Err(not),
        },
        "code" if sure => match backups::code(&app, owner, from).await {
            Ok(code) => Ok(note(
                Tone::Good,
                html! {
                    p { strong { "The recovery code of this box." } " Write it on paper; this page shows it until you leave." }
                    (words(&code))
                },
            )),
            Err(not) => Err(not),
        },
        _ => {
            let status = backups::status(&app).await;
            return Ok(show_page(&app, &order.by, &status, &Say::default()).await);
        }
    };
    let (code, say) = match result {
        Ok(above) => {
            let say = Say {
                above: Some(above),
                typed: None,
                server,
                disks,
            };
            (StatusCode::OK, say)
        }
        Err(NotDone::Store(error)) => return Err(error.into()),
        Err(not) => {
            let (code, hint) = match &not {
                NotDone::Refused { hint, .. } => (StatusCode::UNPROCESSABLE_ENTITY, hint.clone()),
                _ => (
                    StatusCode::SERVICE_UNAVAILABLE,
                    Some(
                        "it may be starting: try again in a minute; the page Logs says more"
                            .to_owned(),
                    ),
                ),
            };
            let say = Say {
                above: Some(fault(&not, hint.as_deref())),
                typed,
                server,
                disks,
            };
            (code, say)
        }
    };
    let status = backups::status(&app).await;
    let mut page = show_page(&app, &order.by, &status, &say).await;
    *page.status_mut() = code;
    Ok(page)
}

fn no_target(error: NoTarget) -> NotDone {
    NotDone::Refused {
        why: error.to_string(),
        hint: None,
    }
}

/// Which host key the server shows.
async fn look(app: &App, place: &str) -> Result<HostKey, NotDone> {
    if !place.starts_with(SFTP) {
        return Err(no_target(NoTarget::Scheme));
    }
    let place: SftpPlace = place.parse().map_err(no_target)?;
    backups::host_key(app, place.host, place.port).await
}

/// A disk that was shown, by the number of its file system, if it is still plugged in.
async fn plugged(app: &App, id: &str) -> Result<Target, NotDone> {
    let place = UsbPlace {
        disk: id.to_owned(),
        ..UsbPlace::default()
    };
    let disks = backups::disks(app).await?;
    let found = place.among(&disks);
    let refused = |why: &str, hint: &str| NotDone::Refused {
        why: why.to_owned(),
        hint: Some(hint.to_owned()),
    };
    match (found.first().and_then(|disk| disk.usable()), found.len()) {
        (Some(mark), 1) => Ok(place.on(mark).into()),
        (None, _) => Err(refused(
            "this disk is not plugged in any more",
            "plug it in, and look again",
        )),
        (Some(_), _) => Err(refused(
            "two disks have this number: one is a copy",
            "pull one of them out, and look again",
        )),
    }
}

/// A server whose host key was confirmed, as the service wants it.
fn signs_in(server: &Server, password: &str) -> Result<(Target, Option<Secret>), NotDone> {
    let Some(shown) = server.shown.clone() else {
        return Err(no_target(NoTarget::HostKey(String::new())));
    };
    let target = SftpTarget::of(&server.place, shown).map_err(no_target)?;
    let secret = match password {
        "" => None,
        password => Some(Secret::password(password).map_err(|why| NotDone::Refused {
            why: format!("this is no password: {why}"),
            hint: None,
        })?),
    };
    Ok((target.into(), secret))
}

/// What was typed, as the service wants it.
fn chosen(typed: &Typed, secret: &str) -> Result<(Target, Secret), NotDone> {
    let refused = |why: String| NotDone::Refused { why, hint: None };
    let target = Target::of(
        &typed.place,
        Some(&typed.endpoint),
        Some(&typed.region),
        &typed.key_id,
    )
    .map_err(|error| refused(error.to_string()))?;
    let secret = secret
        .parse()
        .map_err(|why| refused(format!("this is no secret key: {why}")))?;
    Ok((target, secret))
}
