/** What operators do with people: the verbs behind `gatehouse users` and the demo data. */
import { z } from 'zod';
import type { Sql } from '../postgres/database.ts';
import { createUser } from '../postgres/people.pg.ts';
import { type UserClaims, userClaims, usernameProblem } from '../protocol/claims.ts';
import type { Context } from '../protocol/context.ts';
import { PASSWORD_MAX_BYTES, type Passwords } from '../protocol/secrets.ts';
import { OperatorError, parse } from './input.ts';

const newUser = z.strictObject({
  username: z.string().min(1).max(254),
  password: z.string(),
  claims: userClaims.default({}),
});

/**
 * Creates a user.
 * @throws OperatorError naming the field that is wrong
 */
export async function registerUser(
  database: Sql,
  input: unknown,
  rules: { passwordMin: number; passwords: Passwords },
  context: Context,
): Promise<{ id: string; username: string; claims: UserClaims }> {
  const { username, password, claims } = parse(newUser, input);
  const problem = usernameProblem(username, claims.email);
  if (problem !== undefined) throw new OperatorError(`username: ${problem}`);
  const user = { id: randomUserId(context), username: username.normalize('NFKC'), claims };
  const hash = await hashPassword(password, rules);
  if ((await createUser(database, user, hash, context.now())) === 'taken') {
    throw new OperatorError('username: the name or e-mail address is taken');
  }
  return user;
}

/** @throws OperatorError when the password is too short or too long */
export async function hashPassword(
  password: string,
  { passwordMin, passwords }: { passwordMin: number; passwords: Passwords },
): Promise<string> {
  if ([...password].length < passwordMin)
    throw new OperatorError(`password: must have at least ${passwordMin} characters`);
  if (Buffer.byteLength(password) > PASSWORD_MAX_BYTES)
    throw new OperatorError(`password: must not be longer than ${PASSWORD_MAX_BYTES} bytes`);
  return passwords.hash(password);
}

/** UUIDv4: random, so it tells not even when the person came. */
function randomUserId({ random }: Context): string {
  const bytes = random(16);
  bytes.writeUInt8((bytes.readUInt8(6) & 0x0f) | 0x40, 6);
  bytes.writeUInt8((bytes.readUInt8(8) & 0x3f) | 0x80, 8);
  return bytes.toString('hex').replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
}
