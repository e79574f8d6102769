//! Descriptors: what arrives on them and what is sent.

use super::*;
use crate::control::{Following, Peer, Standing};
use crate::{dhcp, lines::Line, ports};
use roost_service::control::{Request, Response, VIRTIO_PORT};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};
use socket2::{Domain, Protocol, Socket, Type};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::Path;

/// Reads of one descriptor before the others have their turn.
const READS: usize = 16;
/// Messages kept for the kernel's network: a start makes about ten.
const MAX_UNSENT: usize = 64;
/// A port without a peer hangs up for ever: tell of changes only.
const PORT_EVENTS: epoll::EventFlags = epoll::EventFlags::IN
    .union(epoll::EventFlags::OUT)
    .union(epoll::EventFlags::ET);

impl Init {
    /// Begins to watch a descriptor.
    pub(super) fn watch(&mut self, source: Source) -> u64 {
        self.next_token += 1;
        let token = self.next_token;
        let watched = self.watch_source(&source, token);
        self.sources.insert(token, source);
        if let Err(error) = watched {
            self.unwatched.push(token);
            let line = format!("cannot watch a descriptor, trying again: {error}");
            self.say(Level::Quiet, &line);
        }
        token
    }

    fn watch_source(&self, source: &Source, token: u64) -> Result<(), Errno> {
        let flags = match source {
            Source::Port(_) => PORT_EVENTS,
            // How sysfs tells of a new value (sysfs_notify).
            Source::CardErrors(_) => epoll::EventFlags::PRI,
            _ => epoll::EventFlags::IN,
        };
        let data = epoll::EventData::new_u64(token);
        epoll::add(&self.epoll, source.fd(), data, flags)
    }

    /// Tries again what [`Init::watch`] could not do.
    pub(super) fn watch_again(&mut self) {
        let mut unwatched = std::mem::take(&mut self.unwatched);
        unwatched.retain(|token| {
            self.sources.get(token).is_some_and(|source| {
                let watched = self.watch_source(source, *token);
                !matches!(watched, Ok(()) | Err(Errno::EXIST))
            })
        });
        self.unwatched = unwatched;
    }

    /// Leaves a descriptor alone that cannot be read, until the next feeding of the watchdog.
    pub(super) fn set_aside(&mut self, fd: BorrowedFd<'_>, token: u64, what: &str, error: Errno) {
        let _ = epoll::delete(&self.epoll, fd);
        self.unwatched.push(token);
        let line = format!("cannot read {what}, trying again: {error}");
        self.say(Level::Quiet, &line);
    }

    /// Closes a descriptor.
    pub(super) fn forget(&mut self, token: u64) {
        if let Some(source) = self.sources.remove(&token) {
            // Before closing: a child between fork and exec may hold a copy.
            let _ = epoll::delete(&self.epoll, source.fd());
            self.hung_up(token);
        }
    }

    /// Something came on a descriptor (or it was closed by its other side).
    pub(super) fn readable(&mut self, token: u64) {
        // Taken out while it is served, so that serving it may change the rest.
        let Some(mut source) = self.sources.remove(&token) else {
            return;
        };
        let keep = match &mut source {
            Source::Signals(_) => {
                self.signalled(false);
                true
            }
            Source::Netlink(fd) => {
                self.netlink_readable(fd.as_fd());
                true
            }
            Source::Uevents(uevents) => {
                let (subsystems, lost) = uevents.drain();
                if lost
                    || subsystems
                        .iter()
                        .any(|subsystem| subsystem == "virtio-ports")
                {
                    self.open_port();
                }
                true
            }
            Source::Dhcp(socket) => self.dhcp_readable(socket),
            Source::CardErrors(errors) => {
                if errors.found() {
                    self.card_failed();
                }
                true
            }
            Source::Listener(listener) => {
                self.accept(listener);
                true
            }
            Source::Client(client) => {
                let (standing, _) = self.serve(client, token);
                if client.waiting {
                    // Not watched until then: a peer that has left would be told of all the time.
                    let _ = epoll::delete(&self.epoll, &client.fd);
                    self.sources.insert(token, source);
                    return;
                }
                let mut flags = epoll::EventFlags::empty();
                flags.set(epoll::EventFlags::IN, !client.is_stuffed());
                flags.set(epoll::EventFlags::OUT, client.wants_to_write());
                let data = epoll::EventData::new_u64(token);
                standing != Standing::Closed
                    && epoll::modify(&self.epoll, &client.fd, data, flags).is_ok()
            }
            Source::Port(client) => {
                match self.serve(client, token) {
                    // A port that looks closed right behind a request is one peer's end and the
                    // next one's beginning seen at once: the answer is for the one that comes,
                    // and its coming is a change that will be told.
                    (Standing::Drained, _) | (Standing::Closed, true) => {}
                    // The port stays; its next peer shall not get this one's answers.
                    (Standing::Closed, false) => {
                        client.reset();
                        self.hung_up(token);
                    }
                    // Only changes are told: ask to be told again of what is there.
                    (Standing::More, _) => {
                        let data = epoll::EventData::new_u64(token);
                        let _ = epoll::modify(&self.epoll, &client.fd, data, PORT_EVENTS);
                    }
                }
                true
            }
            Source::Output { service, fd, lines } => {
                let name = self.machine.supervisor().services()[*service]
                    .spec
                    .name
                    .clone();
                let (found, open) = read_lines(fd, lines);
                for line in found {
                    self.log(&name, line);
                }
                open.unwrap_or_else(|error| {
                    self.set_aside(fd.as_fd(), token, &format!("what {name} says"), error);
                    true
                })
            }
            Source::Notify { service, fd, lines } => {
                let mut messages = Vec::new();
                let open = read_each(fd, lines, |line| {
                    messages.extend(Message::parse(line.bytes()))
                });
                let service = *service;
                for message in messages {
                    self.event(machine::Event::Service(supervisor::Event::Notified(
                        service, message,
                    )));
                }
                open.unwrap_or_else(|error| {
                    self.set_aside(fd.as_fd(), token, "whether a service is ready", error);
                    true
                })
            }
            Source::Kernel(fd) => self.kernel_readable(fd, token),
            Source::Recalled { fd } => self.recalled_readable(fd, token),
            Source::Helper { fd, lines } => {
                let (found, open) = read_lines(fd, lines);
                for line in found {
                    let helper = self
                        .helpers
                        .iter_mut()
                        .find(|helper| helper.tokens.contains(&token));
                    let mut told = false;
                    if let Some(helper) = helper {
                        helper.last_line.clone_from(&line);
                        told = helper.task == Task::Spill;
                    }
                    // What writes logs is told of when it ends.
                    if !told {
                        self.say(Level::Quiet, &line);
                    }
                }
                open.unwrap_or_else(|error| {
                    self.set_aside(fd.as_fd(), token, "what a helper says", error);
                    true
                })
            }
        };
        self.sources.insert(token, source);
        if !keep {
            self.forget(token);
        }
    }

    fn netlink_readable(&mut self, fd: BorrowedFd<'_>) {
        self.take_netlink(fd);
        self.place();
    }

    /// Tells the screen where the box is.
    pub(super) fn place(&mut self) {
        let addresses = self.network.addresses();
        self.screen
            .place(clock::since_boot(), &self.name, &addresses);
    }

    fn take_netlink(&mut self, fd: BorrowedFd<'_>) {
        let mut buffer = vec![0; 32 * 1024];
        for _ in 0..READS {
            match rustix::net::recv(fd, &mut buffer[..], RecvFlags::empty()) {
                Ok((length, _)) => {
                    for event in netlink::read(&buffer[..length.min(buffer.len())]) {
                        let actions = self.network.handle(clock::since_boot(), event, is_wired);
                        self.network_actions_on(Some(fd), actions);
                    }
                }
                Err(Errno::NOBUFS) => {
                    // Announcements were lost: ask for everything.
                    let actions = self.network.start();
                    self.network_actions_on(Some(fd), actions);
                }
                Err(_) => return,
            }
        }
    }

    pub(super) fn network_actions(&mut self, actions: Vec<network::Action>) {
        self.network_actions_on(None, actions);
    }

    /// `netlink` is the netlink socket while it is being served.
    fn network_actions_on(
        &mut self,
        netlink: Option<BorrowedFd<'_>>,
        actions: Vec<network::Action>,
    ) {
        for action in actions {
            match action {
                network::Action::Netlink(message) => {
                    let own = self.sources.values().find_map(|source| match source {
                        Source::Netlink(fd) => Some(fd.as_fd()),
                        _ => None,
                    });
                    let sent = match netlink.or(own) {
                        // Later ones wait behind it: their order means something.
                        _ if !self.unsent.is_empty() => Ok(false),
                        Some(fd) => {
                            rustix::net::send(fd, &message, SendFlags::empty()).map(|_| true)
                        }
                        None => Ok(false),
                    };
                    if let Err(error) = sent {
                        let line = format!("cannot set up the network, trying again: {error}");
                        self.say(Level::Quiet, &line);
                    }
                    if sent != Ok(true) && self.unsent.len() < MAX_UNSENT {
                        self.unsent.push(message);
                    }
                }
                network::Action::OpenDhcp(interface) => match open_dhcp(&interface) {
                    Ok(socket) => {
                        self.watch(Source::Dhcp(socket));
                    }
                    Err(error) => self.say(
                        Level::Console,
                        &format!("cannot open DHCP on {interface}: {error}"),
                    ),
                },
                network::Action::CloseDhcp => {
                    let tokens: Vec<u64> = self.dhcp_sockets().map(|(token, _)| token).collect();
                    tokens.into_iter().for_each(|token| self.forget(token));
                }
                network::Action::Dhcp(to, message) => {
                    let result = self
                        .dhcp_sockets()
                        .next()
                        .map(|(_, socket)| socket.send_to(&message, (to, dhcp::SERVER_PORT)));
                    if let Some(Err(error)) = result {
                        // Tried again at the next deadline; without a cable this is usual.
                        self.say(Level::Quiet, &format!("DHCP: cannot send: {error}"));
                    }
                }
                network::Action::Resolvers(text) => {
                    if let Err(error) = write_whole(network::RESOLV_CONF, &text) {
                        self.say(
                            Level::Console,
                            &format!("cannot write {}: {error}", network::RESOLV_CONF),
                        );
                    }
                }
                network::Action::Log(line) => self.say(Level::Quiet, &line),
                network::Action::Online => {
                    let now = clock::since_boot();
                    self.boot.end(now, NETWORK);
                    self.boot.mark(now, boot_times::ADDRESS);
                    self.clock.retry = SYNC_RETRY;
                    self.clock.next_sync = Some(clock::since_boot());
                }
            }
        }
    }

    /// Sends again what the kernel's network did not take, and opens what DHCP lacks.
    pub(super) fn make_up_network(&mut self) {
        let unsent = std::mem::take(&mut self.unsent);
        let mut actions: Vec<_> = unsent.into_iter().map(network::Action::Netlink).collect();
        if self.dhcp_sockets().next().is_none() {
            let interface = self.network.dhcp_interface().map(str::to_owned);
            actions.extend(interface.map(network::Action::OpenDhcp));
        }
        self.network_actions(actions);
    }

    fn dhcp_sockets(&self) -> impl Iterator<Item = (u64, &UdpSocket)> {
        self.sources
            .iter()
            .filter_map(|(token, source)| match source {
                Source::Dhcp(socket) => Some((*token, socket)),
                _ => None,
            })
    }

    fn dhcp_readable(&mut self, socket: &UdpSocket) -> bool {
        let mut buffer = [0; dhcp::MAX_MESSAGE];
        for _ in 0..READS {
            match socket.recv_from(&mut buffer) {
                Ok((length, from)) if from.port() == dhcp::SERVER_PORT => {
                    let actions = self.network.receive(clock::since_boot(), &buffer[..length]);
                    // The socket is out of the table while it is served.
                    for action in actions {
                        if let network::Action::Dhcp(to, message) = action {
                            let _ = socket.send_to(&message, (to, dhcp::SERVER_PORT));
                        } else {
                            self.network_actions(vec![action]);
                        }
                    }
                }
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                // ENETDOWN and the like: the interface's own events tell more.
                Err(_) => break,
            }
        }
        true
    }

    fn accept(&mut self, listener: &UnixListener) {
        while let Ok((stream, _)) = listener.accept() {
            let clients = self
                .sources
                .values()
                .filter(|source| matches!(source, Source::Client(_)))
                .count();
            let user = rustix::net::sockopt::socket_peercred(&stream).map(|peer| peer.uid.as_raw());
            let peer = user.ok().and_then(|user| Peer::of(user, &self.table));
            if let Some(peer) = peer
                && clients < control::MAX_CLIENTS
                && stream.set_nonblocking(true).is_ok()
            {
                self.watch(Source::Client(Client::new(stream.into(), peer)));
            }
        }
    }

    /// Reads requests and writes answers; tells also whether there was a request.
    fn serve(&mut self, client: &mut Client, token: u64) -> (Standing, bool) {
        let (requests, standing) = client.read();
        let asked = !requests.is_empty() || client.waiting;
        client.queue.extend(requests);
        // Only as many as can be answered: the others wait, and nothing is read until they had their turn.
        while !client.waiting
            && client.has_room()
            && let Some(request) = client.queue.pop_front()
        {
            let request = request.and_then(|request| match client.peer.may(&request) {
                true => Ok(request),
                false => Err("the service's spec does not list this right".to_owned()),
            });
            client.following = None;
            let follows = match &request {
                Ok(Request::Logs {
                    service,
                    follow: true,
                    ..
                }) => Some(service.clone()),
                _ => None,
            };
            let halt = match &request {
                Ok(Request::Reboot { trial: false }) => Some(Halt::Reboot),
                Ok(Request::Reboot { trial: true }) => Some(Halt::Trial),
                Ok(Request::PowerOff) => Some(Halt::PowerOff),
                _ => None,
            };
            let Some(response) = self.answer(request, token) else {
                client.waiting = true;
                break;
            };
            client.answer(&response);
            if let Some(service) = follows
                && matches!(response, Response::Logs { .. })
            {
                client.following = Some(self.following(&service));
            }
            if let Some(how) = halt.filter(|_| response == Response::Ok) {
                client.flush();
                self.event(machine::Event::GoDown(how));
            }
        }
        if client.flush() {
            (standing, asked)
        } else {
            (Standing::Closed, asked)
        }
    }

    /// Something was kept, or not: answers who asked for it, and does what follows.
    pub(super) fn kept(&mut self, what: What, token: u64, result: Result<(), String>) {
        let kept = result.is_ok();
        let response = match result {
            Ok(()) => Response::Ok,
            Err(message) => Response::Error { message },
        };
        self.answer_late(token, &response, None);
        match what {
            What::Chosen if kept => {
                self.say(Level::Quiet, "domain and account were chosen");
                let changes = std::mem::take(&mut self.changes);
                let services = self.machine.supervisor().services().iter().enumerate();
                let concerned: Vec<_> = services
                    .filter(|(_, service)| {
                        let mut changes = changes.iter();
                        changes.any(|change| service.spec.restart_on.contains_key(change))
                    })
                    .map(|(index, _)| index)
                    .collect();
                for index in concerned {
                    self.event(machine::Event::Service(supervisor::Event::Restart(index)));
                }
            }
            What::Reset if kept => {
                self.say(Level::Console, "factory reset: restarting to begin anew");
                self.event(machine::Event::GoDown(Halt::Reboot));
            }
            What::Chosen | What::Reset => {}
        }
        // What came behind it.
        self.readable(token);
    }

    /// Answers somebody who has waited for a child.
    pub(super) fn answer_late(
        &mut self,
        token: u64,
        response: &Response,
        following: Option<Following>,
    ) {
        // Gone if the peer of a socket is: then only the answer is lost.
        if let Some(Source::Client(client) | Source::Port(client)) = self.sources.get_mut(&token) {
            client.waiting = false;
            client.following = following;
            client.answer(response);
            client.flush();
        }
        if let Some(Source::Client(client)) = self.sources.get(&token) {
            let data = epoll::EventData::new_u64(token);
            if epoll::add(&self.epoll, &client.fd, data, epoll::EventFlags::IN).is_err() {
                self.unwatched.push(token);
            }
        }
    }

    fn recalled_readable(&mut self, fd: &OwnedFd, token: u64) -> bool {
        let mut buffer = [0; 16 * 1024];
        loop {
            match rustix::io::read(fd, &mut buffer[..]) {
                Ok(0) => return false,
                Ok(length) => {
                    let asked = |helper: &&mut Helper| helper.tokens.contains(&token);
                    if let Some(helper) = self.helpers.iter_mut().find(asked) {
                        journal::collect(&mut helper.text, &buffer[..length]);
                    }
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return true,
                Err(error) => {
                    let asked = |helper: &&mut Helper| helper.tokens.contains(&token);
                    if let Some(helper) = self.helpers.iter_mut().find(asked) {
                        let line = format!("\n[lines were lost: {error}]\n");
                        journal::collect(&mut helper.text, line.as_bytes());
                    }
                    return false;
                }
            }
        }
    }

    /// Opens the emulator's control port once it is there.
    pub(super) fn open_port(&mut self) {
        if self
            .sources
            .values()
            .any(|source| matches!(source, Source::Port(_)))
        {
            return;
        }
        let Some(node) = ports::find(VIRTIO_PORT) else {
            return;
        };
        match rustix::fs::open(
            &node,
            OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC,
            Mode::empty(),
        ) {
            Ok(fd) => {
                self.watch(Source::Port(Client::new(fd, Peer::Master)));
            }
            Err(error) => self.say(
                Level::Quiet,
                &format!("cannot open {}: {error}", node.display()),
            ),
        }
    }
}

/// A real wired interface: it has a device behind it and is no radio.
fn is_wired(name: &str) -> bool {
    let sys = Path::new("/sys/class/net").join(name);
    sys.join("device").exists() && !sys.join("phy80211").exists() && !sys.join("wireless").exists()
}

fn open_dhcp(interface: &str) -> io::Result<UdpSocket> {
    let socket = Socket::new(
        Domain::IPV4,
        Type::DGRAM.nonblocking().cloexec(),
        Some(Protocol::UDP),
    )?;
    socket.set_broadcast(true)?;
    socket.set_reuse_address(true)?;
    socket.bind_device(Some(interface.as_bytes()))?;
    socket.bind(&SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, dhcp::CLIENT_PORT).into())?;
    Ok(socket.into())
}

/// Writes a file that readers see whole, old or new.
fn write_whole(path: &str, text: &str) -> io::Result<()> {
    let new = format!("{path}.new");
    fs::write(&new, text)?;
    fs::rename(&new, path)
}

fn read_lines(fd: &OwnedFd, lines: &mut Splitter) -> (Vec<String>, Result<bool, Errno>) {
    let mut found = Vec::new();
    let open = read_each(fd, lines, |line| {
        let text = ring::clean(line.bytes());
        let cut = matches!(line, Line::Cut(_));
        if !text.is_empty() {
            found.push(if cut { format!("{text} […]") } else { text });
        }
    });
    (found, open)
}

/// Reads what has come and splits it. Returns whether the other side is still there.
fn read_each(
    fd: &OwnedFd,
    lines: &mut Splitter,
    mut each: impl FnMut(Line<'_>),
) -> Result<bool, Errno> {
    let mut buffer = [0; 4096];
    for _ in 0..READS {
        match rustix::io::read(fd, &mut buffer[..]) {
            Ok(0) => {
                lines.finish(each);
                return Ok(false);
            }
            Ok(length) => lines.feed(&buffer[..length], &mut each),
            Err(Errno::AGAIN | Errno::INTR) => return Ok(true),
            Err(error) => return Err(error),
        }
    }
    Ok(true)
}
