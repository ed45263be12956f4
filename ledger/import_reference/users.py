"""Import users: find those that can be users of the ledger, and report why the others cannot."""

import re
from collections.abc import Callable, Mapping, Sequence
from uuid import UUID

from ledger.audit.progress import Progress
from ledger.commands.command import Credential, States
from ledger.commands.users import CreateUser
from ledger.errors import Refused
from ledger.events import State, evolve
from ledger.events.users import ROLES, Name, Role, User, email_streams, username_streams
from ledger.identity.password_digests import is_digest_of_common
from ledger.identity.password_rules import names_of
from ledger.identity.passwords import MAX_PASSWORD_LENGTH
from ledger.import_reference import source
from ledger.import_reference.books import NewUser, RehearsedBooks
from ledger.import_reference.report import Problem, Rejection, Report
from ledger.values.derived import is_derived
from ledger.values.ids import new_id
from ledger.values.names import MAX_EMAIL_LENGTH, MAX_USERNAME_LENGTH, check_email, check_username

# What clients of the reference service send for alice and bob: public, so never a default.
SAMPLE_PASSWORD = "7c44575b741f02d49c3e988ba7aa95a8fb6d90c0ef63a97236fa54bfcfbd9d51"  # noqa: S105
CHUNK = 32  # users created at once, after their passwords are hashed

# The rules are those of `POST /users`: a test compares them.
MAX_ROLES_LENGTH = 64
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+")


async def import_users(
    books: RehearsedBooks,
    users: Sequence[source.User],
    mapped: Mapping[UUID, UUID],
    report: Report,
    progress: Progress,
) -> dict[UUID, UUID]:
    """Create the missing users. Return the ledger's user id for each user of the reference that is in the ledger.

    Mapped users are in the ledger under another id.
    """
    progress.begin("users", len(users))
    owners = dict(mapped)
    report.users.at_reference = len(users)
    report.users.already_here += sum(user.id in mapped for user in users)
    possible = []
    for user in users:
        if user.id in mapped:
            continue
        if rejection := reject_user(user):
            report.refuse(_create_problem(user, rejection))
        else:
            possible.append(user)
    for start in range(0, len(possible), CHUNK):
        chunk = possible[start : start + CHUNK]
        owners |= await _import_chunk(books, chunk, report)
        progress.advance(len(chunk))
    return owners


def reject_user(user: source.User) -> Rejection | None:
    """Return why the ledger cannot have such a user, regardless of other users; None if it can."""
    if is_derived(user.id):
        return Rejection("id_reserved", "ids of version 8 are the ledger's own")
    if why := _reject_username(user.username):
        return Rejection("username_invalid", f"its user name {why}")
    if why := _reject_email(user.email):
        return Rejection("email_invalid", f"its e-mail address {why}")
    if parse_roles(user.roles) is None:
        return Rejection("roles_invalid", f"its roles {user.roles!a} must be distinct and among {', '.join(ROLES)}")
    if not 1 <= len(user.password_hash) <= MAX_PASSWORD_LENGTH:
        return Rejection("password_invalid", f"its password_hash does not have 1 to {MAX_PASSWORD_LENGTH} characters")
    return None


def parse_roles(text: str) -> tuple[Role, ...] | None:
    """Return the roles in a text separated by commas; None unless they are distinct and known."""
    names = [name.strip(" ") for name in text.split(",")]
    roles = tuple(role for name in names for role in ROLES if role == name)
    return roles if len(text) <= MAX_ROLES_LENGTH and len(names) == len(roles) == len(set(roles)) else None


def _reject_username(username: str) -> str | None:
    if not 1 <= len(username) <= MAX_USERNAME_LENGTH:
        return f"must have 1 to {MAX_USERNAME_LENGTH} characters"
    return _catch_error(check_username, username)


def _reject_email(email: str) -> str | None:
    if len(email) > MAX_EMAIL_LENGTH:
        return f"must have at most {MAX_EMAIL_LENGTH} characters"
    if not _EMAIL.fullmatch(email):
        return f"must be an e-mail address, and is {email!a}"
    return _catch_error(check_email, email)


def _catch_error(check: Callable[[str], str], name: str) -> str | None:
    try:
        check(name)
    except ValueError as error:
        return str(error)
    return None


async def _import_chunk(books: RehearsedBooks, users: Sequence[source.User], report: Report) -> dict[UUID, UUID]:
    commands = [_create_command(user) for user in users]
    states = await books.states({stream for command in commands for stream in command.streams()})
    owners: dict[UUID, UUID] = {}
    new: list[tuple[source.User, CreateUser]] = []
    for user, command in zip(users, commands, strict=True):
        known = states[user.id]
        if isinstance(known, User) and not known.deleted:
            owners[user.id] = user.id
            _compare(command, known, user, report)
        elif rejection := _try_command(command, states):
            report.refuse(_create_problem(user, rejection))
        else:
            new.append((user, command))
    refusals = await books.create_users([NewUser(command, user.password_hash) for user, command in new])
    for (user, _), refused in zip(new, refusals, strict=True):
        if refused is not None:  # another command took the id or a name first
            report.refuse(_create_problem(user, Rejection(refused.refusals[0].code, refused.refusals[0].message)))
            continue
        owners[user.id] = user.id
        report.users.taken += 1
        if user.password_hash == SAMPLE_PASSWORD:
            report.notes.append(f"user {user.id} has the password that the reference publishes: change it")
        elif is_digest_of_common(user.password_hash, names_of(user.username, user.email)):
            report.notes.append(f"user {user.id} has the digest of a common password: change it")
    return owners


def _create_command(user: source.User) -> CreateUser:
    """Return the command that creates a valid user; the secret still has to be hashed."""
    return CreateUser(
        user_id=user.id,
        username=check_username(user.username),
        email=check_email(user.email),
        active=user.active,
        roles=parse_roles(user.roles) or (),
        credential=Credential(new_id(), user.id, ""),
    )


def _try_command(command: CreateUser, states: dict[UUID, State | None]) -> Rejection | None:
    """Return why the command would be refused; otherwise apply it to `states`, for the users after it."""
    try:
        decision = command.decide(states)
    except Refused as refused:
        return _find_name_conflict(command, states) or Rejection(refused.refusals[0].code, refused.refusals[0].message)
    for stream, event in decision.events:
        states[stream] = evolve(states[stream], event)
    return None


def _find_name_conflict(command: CreateUser, states: States) -> Rejection | None:
    """Return the rejection that names the user with the id or a name of the command; None if there is no such user."""
    if states[command.user_id] is not None:
        return Rejection("id_taken", "its id belongs to a deleted user, or to something else")
    names = (
        ("username_taken", "its user name", username_streams(command.username)),
        ("email_taken", "its e-mail address", email_streams(command.email)),
    )
    for code, what, streams in names:
        for stream in streams:
            name = states[stream]
            if isinstance(name, Name) and name.holder_id is not None:
                how = "belongs to" if stream == streams[0] else "looks like that of"
                return Rejection(code, f"{what} {how} user {name.holder_id} here")
    return None


def _compare(command: CreateUser, known: User, user: source.User, report: Report) -> None:
    members = ("username", "email", "active", "roles")
    if differing := [member for member in members if getattr(command, member) != getattr(known, member)]:
        reason = f"is here already, with another {' and another '.join(differing)}"
        report.differ(Problem("user", user.id, "differs", reason, name=user.username))
    else:
        report.users.already_here += 1


def _create_problem(user: source.User, rejection: Rejection) -> Problem:
    remedy = f"change it at the reference, or name a user of the ledger: --map-user {user.id}=USER"
    return Problem("user", user.id, rejection.code, rejection.reason, remedy, user.username)
