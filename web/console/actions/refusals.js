// Which member of a form each reason of a refusal is about.

const UUID_AT_END = /: [0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;
const BY_CODE = {
  transfer_insufficient_funds: "/amount_cents",
  transfer_accounts_are_same: "/destination_account_id",
  currency_mismatch: "/destination_account_id",
  user_not_found: "/user_id",
};

/** Return the reasons of a problem: { text, pointer }; the pointer is null if none of the fields is meant. */
export function reasonsOf(problem, fields) {
  const entries = problem.errors.length > 0 ? problem.errors : [{ message: problem.message, reason: problem.help }];
  return entries.map((entry) => {
    const pointer = pointersOf(entry, fields).find((each) => fields.some((field) => field.covers(each))) ?? null;
    return { pointer, text: textOf(entry, pointer !== null) };
  });
}

function pointersOf({ code, detail = {} }, fields) {
  const named = ["source_account_id", "destination_account_id"].filter((name) => detail[name] !== undefined).map((name) => `/${name}`);
  const account = detail.account_id && fields.map((field) => field.pointerOf?.(detail.account_id) ?? (field.read() === detail.account_id ? `/${field.name}` : null));
  return [detail.pointer, ...named, ...(account || []), BY_CODE[code]].filter((pointer) => pointer !== undefined && pointer !== null);
}

function textOf({ message, reason }, isAtMember) {
  return [isAtMember ? message.replace(UUID_AT_END, "") : message, !isAtMember && reason].filter(Boolean).map((each) => each.charAt(0).toUpperCase() + each.slice(1)).join(". ");
}
