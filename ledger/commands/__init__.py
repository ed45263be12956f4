"""Commands, which change the ledger, and the pure decisions about them. `COMMANDS` lists every command."""

from collections.abc import Mapping

from ledger.commands.accounts import CloseAccount, OpenAccount, ReopenAccount, UpdateAccount
from ledger.commands.amendments import AmendTransaction
from ledger.commands.assets import RegisterAsset
from ledger.commands.batch import TransferBatch
from ledger.commands.clients import (
    IssueClientToken,
    RegisterClient,
    RevokeClient,
    RotateClientSecret,
    UpdateClient,
)
from ledger.commands.command import Command
from ledger.commands.holds import CaptureHold, ExpireHold, PlaceHold, VoidHold
from ledger.commands.imports import ImportAccounts, ImportTransfers
from ledger.commands.journal import PostJournalEntry
from ledger.commands.monitors import CreateMonitor, DeleteMonitor, RecordCrossings
from ledger.commands.operations import RecordFollowerResumption, RecordFollowerStop, RecordRebuild, RecordVerification
from ledger.commands.periods import ClosePeriod, ReopenPeriod
from ledger.commands.reconciliations import ReconcileStatement, UndoReconciliations
from ledger.commands.reversals import ReverseTransaction
from ledger.commands.schedules import CancelSchedule, ExecuteSchedule, ScheduleTransaction
from ledger.commands.seals import AcceptSealHead
from ledger.commands.second_factors import ConfirmSecondFactor, OfferSecondFactor, RemoveSecondFactor
from ledger.commands.tokens import (
    ChangePassword,
    EndSession,
    ForgetTokens,
    LogOut,
    RefreshTokens,
    RevokeAllTokens,
    RevokeUserTokens,
    StartSession,
)
from ledger.commands.transfers import TransferMoney
from ledger.commands.users import CreateUser, DeleteUser, RehashPassword, UpdateUser
from ledger.commands.webhooks import (
    ChangeWebhook,
    CreateWebhook,
    DeleteWebhook,
    DisableWebhook,
    EnableWebhook,
    RequestRedelivery,
    RewindWebhook,
    RotateWebhookSecret,
)

COMMANDS: tuple[type[Command], ...] = (
    OpenAccount,
    UpdateAccount,
    CloseAccount,
    ReopenAccount,
    RegisterAsset,
    TransferMoney,
    TransferBatch,
    PostJournalEntry,
    ReverseTransaction,
    PlaceHold,
    CaptureHold,
    VoidHold,
    ExpireHold,
    AmendTransaction,
    ScheduleTransaction,
    ExecuteSchedule,
    CancelSchedule,
    CreateMonitor,
    RecordCrossings,
    DeleteMonitor,
    ImportAccounts,
    ImportTransfers,
    CreateUser,
    UpdateUser,
    DeleteUser,
    RehashPassword,
    RegisterClient,
    UpdateClient,
    RotateClientSecret,
    RevokeClient,
    IssueClientToken,
    StartSession,
    RefreshTokens,
    ChangePassword,
    LogOut,
    EndSession,
    RevokeUserTokens,
    RevokeAllTokens,
    ForgetTokens,
    AcceptSealHead,
    OfferSecondFactor,
    ConfirmSecondFactor,
    RemoveSecondFactor,
    ClosePeriod,
    ReopenPeriod,
    ReconcileStatement,
    UndoReconciliations,
    RecordRebuild,
    RecordVerification,
    RecordFollowerStop,
    RecordFollowerResumption,
    CreateWebhook,
    ChangeWebhook,
    RotateWebhookSecret,
    DisableWebhook,
    EnableWebhook,
    RewindWebhook,
    RequestRedelivery,
    DeleteWebhook,
)
COMMANDS_BY_NAME: Mapping[str, type[Command]] = {command.name: command for command in COMMANDS}
