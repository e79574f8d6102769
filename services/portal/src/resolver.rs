//! The resolver that the box's programs ask: its own (resolv.conf(5)).

use domain::base::iana::{Class, Rcode, Rtype};
use domain::base::{Name, Question};
use domain::resolv::StubResolver;
use domain::resolv::stub::Answer;
use domain::resolv::stub::conf::ResolvConf;
use std::io;
use std::path::Path;

/// Where resolvers listen (RFC 1035 §4.2).
pub const PORT: u16 = 53;

/// One that can be asked.
#[derive(Debug)]
pub struct Resolver {
    stub: StubResolver,
    /// How often a question is asked before it counts as unanswered; each time is as long as
    /// the file says.
    tries: usize,
}

impl Resolver {
    /// The one that this file names, at this port; `None` if it names none.
    pub fn load(resolv_conf: &Path, port: u16) -> Option<Self> {
        let mut conf = ResolvConf::new();
        conf.parse_file(resolv_conf).ok()?;
        if conf.servers.is_empty() {
            return None;
        }
        conf.finalize();
        for server in &mut conf.servers {
            server.addr.set_port(port);
        }
        Some(conf.into())
    }

    /// What the DNS says: records, or that there are none.
    ///
    /// # Errors
    /// Why there is no answer, for people.
    pub async fn ask(&self, name: &str, kind: Rtype) -> Result<Answer, String> {
        let owner: Name<Vec<u8>> = name.parse().map_err(|_| format!("{name} is no name"))?;
        let question = Question::new(owner, kind, Class::IN);
        let mut told = Err("no answer came in time".to_owned());
        // A packet may get lost, and a resolver that had to look for long knows the answer by now.
        for _ in 0..self.tries {
            told = match self.stub.query(question.clone()).await {
                Ok(answer) => match answer.header().rcode() {
                    Rcode::NOERROR | Rcode::NXDOMAIN => return Ok(answer),
                    other => Err(format!("the resolver says {other}")),
                },
                Err(error) => Err(plain(&error).to_owned()),
            };
        }
        told
    }
}

impl From<ResolvConf> for Resolver {
    fn from(conf: ResolvConf) -> Self {
        Self {
            tries: conf.options.attempts.max(1),
            stub: StubResolver::from_conf(conf),
        }
    }
}

/// What an error of the resolver means to the owner.
fn plain(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::TimedOut => "no answer came in time",
        _ => "the resolver of the box's network does not answer",
    }
}

/// What an answer is that cannot be read.
pub fn broken<E>(_: E) -> String {
    "the answer makes no sense".to_owned()
}
