//! Pure: the verbs behind `hub`.

use super::{Found, UsageError};

/// A verb behind `hub` with everything it was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum OfHub {
    ShowOrigin,
    /// `None` takes it back.
    SetOrigin {
        origin: Option<String>,
    },
}

impl OfHub {
    /// `command` of `--json`.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::ShowOrigin => "hub show-origin",
            Self::SetOrigin { .. } => "hub set-origin",
        }
    }
}

impl Found {
    pub(super) fn of_hub(&self, name: &str) -> Result<OfHub, UsageError> {
        if name == "show-origin" {
            return Ok(OfHub::ShowOrigin);
        }
        match (self.names()?.into_iter().next(), self.has("unset")) {
            (Some(origin), false) => Ok(OfHub::SetOrigin { origin: Some(origin) }),
            (None, true) => Ok(OfHub::SetOrigin { origin: None }),
            (None, false) => Err(UsageError::MissingWord { what: "the origin" }),
            (Some(word), true) => Err(UsageError::ExtraWord { word }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::parse::{Command, parse};

    fn of_hub(args: &[&str]) -> Result<OfHub, String> {
        let args = [&["hub"], args].concat().iter().map(Into::into).collect();
        match parse(args) {
            Ok(invocation) => match invocation.command {
                Command::Hub(of_hub) => Ok(of_hub),
                other => Err(format!("{other:?}")),
            },
            Err(refused) => Err(refused.error.to_string()),
        }
    }

    #[test]
    fn the_origin_is_given_or_taken_back_and_not_both() {
        let set = |origin: Option<&str>| OfHub::SetOrigin { origin: origin.map(str::to_owned) };
        assert_eq!(of_hub(&["show-origin"]), Ok(OfHub::ShowOrigin));
        assert_eq!(of_hub(&["set-origin", "https://a.example"]), Ok(set(Some("https://a.example"))));
        assert_eq!(of_hub(&["set-origin", "--unset"]), Ok(set(None)));
        for (args, part) in [
            (&[][..], "the command is missing"),
            (&["set-origins"], "did you mean set-origin?"),
            (&["set-origin"], "the origin is missing"),
            (&["set-origin", "a", "b"], "unexpected argument"),
            (&["set-origin", "a", "--unset"], "unexpected argument"),
            (&["show-origin", "a"], "unexpected argument"),
        ] {
            let refused = of_hub(args).expect_err(&format!("{args:?}"));
            assert!(refused.contains(part), "{args:?}: {refused}");
        }
        for verb in crate::cli::spec::every_verb().filter(|verb| verb.group == Some("hub")) {
            let mut args = vec![verb.name];
            args.extend((verb.name == "set-origin").then_some("--unset"));
            assert_eq!(of_hub(&args).map(|of_hub| of_hub.name().to_owned()), Ok(verb.path()));
        }
    }
}
