//! Files: regular ones, in the scratch folder, and none elsewhere. Descriptors that are open already stay usable.

use landlock::{
    ABI, Access, AccessFs, AccessNet, LandlockStatus, PathBeneath, PathFd, Ruleset, RulesetAttr, RulesetCreatedAttr,
    RulesetStatus, Scope,
};
use std::path::Path;

/// Restricts this thread and all that it starts. Gives what the kernel lacks of it, if anything.
pub(super) fn restrict(scratch: &Path) -> Result<Option<String>, String> {
    let allowed =
        AccessFs::ReadFile | AccessFs::WriteFile | AccessFs::Truncate | AccessFs::MakeReg | AccessFs::RemoveFile;
    let status = Ruleset::default()
        .handle_access(AccessFs::from_all(ABI::V5))
        .and_then(|rules| rules.handle_access(AccessNet::from_all(ABI::V4)))
        .and_then(|rules| rules.scope(Scope::from_all(ABI::V6)))
        .and_then(|rules| rules.create())
        .map_err(|error| error.to_string())?
        .add_rule(PathBeneath::new(
            PathFd::new(scratch).map_err(|error| error.to_string())?,
            allowed,
        ))
        .and_then(|rules| rules.restrict_self())
        .map_err(|error| error.to_string())?;
    match status.ruleset {
        RulesetStatus::FullyEnforced => Ok(None),
        RulesetStatus::PartiallyEnforced => Ok(Some(format!(
            "this kernel has an older version of it ({}), so that seccomp alone refuses network and signals",
            match status.landlock {
                LandlockStatus::Available { effective_abi, .. } => format!("{effective_abi:?}"),
                other => format!("{other:?}"),
            }
        ))),
        RulesetStatus::NotEnforced => {
            Err("this kernel has none; it takes Linux 5.13, with landlock switched on".into())
        }
    }
}
