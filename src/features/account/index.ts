/**
 * The account page: which applications have access, taken back with one press, and who is signed in with this browser.
 * Removing access ends every grant of the application at once: its consent's epoch is raised.
 *
 * Authorization details (RFC 9396) are in no consent, which would be for ever: they are shown as long as the grant stands that
 * has them, in the words they were allowed in.
 */
import { openDetails } from '../../protocol/authorization-details.ts';
import type { AuthorizationServer } from '../../protocol/authorization-server.ts';
import { displayName, type User, type UserClaimName } from '../../protocol/claims.ts';
import { type Client, findClient } from '../../protocol/client.ts';
import type { AuthorizationDetail } from '../../protocol/details-type.ts';
import type { Feature } from '../../protocol/feature.ts';
import {
  type Browser,
  browserOf,
  checkForm,
  clientCard,
  formRefused,
  formToken,
  initialOf,
} from '../../protocol/interaction.ts';
import type { BrowserRequest, BrowserResponse } from '../../protocol/message.ts';
import type { AccountPage, Moment, Person } from '../../protocol/page.ts';
import { profileOf } from '../../protocol/profile.ts';
import { describeAccess } from '../../protocol/resource.ts';
import { type Session, type SignIn, sessionOf } from '../../protocol/session.ts';

export interface Consented {
  readonly clientId: string;
  readonly scope: readonly string[];
  readonly claims: readonly UserClaimName[];
  readonly grantedAt: Date;
}

export interface GrantedDetail {
  readonly clientId: string;
  readonly detail: AuthorizationDetail;
  /** Of several grants that have it, the latest. */
  readonly grantedAt: Date;
}

export interface Access {
  list(userId: string): Promise<Consented[]>;
  /** The authorization details of grants that stand, each once per client, the latest first. One statement. */
  details(userId: string, now: Date): Promise<GrantedDetail[]>;
  /** Takes a consent back and ends all that came from it; the client is told by back-channel logout. One statement. */
  remove(userId: string, clientId: string, now: Date): Promise<'removed' | 'unknown'>;
}

const PATH = '/account';
const REMOVE_PATH = '/account/access';

export function account({ access }: { access: Access }): Feature {
  return {
    name: 'account',
    endpoints: [
      { caller: 'browser', path: '/', get: home },
      { caller: 'browser', path: PATH, get: (request, server) => show(request, server, access) },
      { caller: 'browser', path: REMOVE_PATH, post: (request, server) => remove(request, server, access) },
    ],
  };
}

async function home(request: BrowserRequest, server: AuthorizationServer): Promise<BrowserResponse> {
  const session = await sessionOf(request, server.sessions);
  const user = session?.signIns[0]?.user;
  return { kind: 'page', page: { view: 'home', accountUrl: PATH, ...(user && { person: personOf(user) }) } };
}

async function show(
  request: BrowserRequest,
  server: AuthorizationServer,
  access: Access,
  notice?: string,
): Promise<BrowserResponse> {
  const session = await sessionOf(request, server.sessions);
  const [current] = session?.signIns ?? [];
  if (!session || !current) return { kind: 'redirect', location: '/login' };
  const browser = browserOf(request, server);
  const page: AccountPage = {
    view: 'account',
    person: personOf(current.user),
    csrf: accountToken(browser, session, current, server),
    removeAction: REMOVE_PATH,
    signOutUrl: '/logout',
    ...(notice !== undefined && { notice }),
    apps: await appsOf(current.user, request.now, access, server),
    signIns: session.signIns.map((signIn) => ({
      person: personOf(signIn.user),
      signedInAt: momentOf(signIn.authentication.time),
      current: signIn === current,
    })),
  };
  return { kind: 'page', page, cookies: browser.cookies };
}

function accountToken(browser: Browser, session: Session, current: SignIn, server: AuthorizationServer): string {
  return formToken(browser, server, REMOVE_PATH, session.id, current.user.id);
}

async function appsOf(
  user: User,
  now: Date,
  access: Access,
  server: AuthorizationServer,
): Promise<AccountPage['apps']> {
  const resources = await server.catalogue.resources();
  const [consented, details] = await Promise.all([access.list(user.id), access.details(user.id, now)]);
  const apps = [];
  for (const { clientId, scope, claims, grantedAt } of consented) {
    const client = await findClient(server.catalogue, clientId);
    if (!client) continue;
    const standing = details.filter(
      (granted) => granted.clientId === clientId && isUsable(granted, client, now, server),
    );
    const open = openDetails(
      standing.map(({ detail }) => detail),
      client,
      resources,
    );
    apps.push({
      clientId,
      client: clientCard(client, client.redirectUris[0]),
      grantedAt: momentOf(grantedAt),
      access: describeAccess(scope, claims, resources, open),
    });
  }
  return apps;
}

/** Without refresh tokens a grant stands for nothing any more once its access tokens are over. */
function isUsable({ grantedAt }: GrantedDetail, client: Client, now: Date, server: AuthorizationServer): boolean {
  const { authorizationCode, accessTokenMost } = profileOf(client, server.profile).lifetimes;
  const age = (now.getTime() - grantedAt.getTime()) / 1000;
  return client.grantTypes.includes('refresh_token') || age < authorizationCode + accessTokenMost;
}

async function remove(request: BrowserRequest, server: AuthorizationServer, access: Access): Promise<BrowserResponse> {
  const session = await sessionOf(request, server.sessions);
  const [current] = session?.signIns ?? [];
  if (!session || !current) throw formRefused();
  checkForm(request, server, REMOVE_PATH, session.id, current.user.id);
  const clientId = request.parameters.get('client_id') ?? '';
  request.trace.userId = current.user.id;
  request.trace.clientId = clientId;
  request.trace.event = 'access_removed';
  const client = await findClient(server.catalogue, clientId);
  const outcome = await access.remove(current.user.id, clientId, request.now);
  const notice = outcome === 'removed' ? `${client?.name ?? 'The application'} no longer has access.` : undefined;
  return show(request, server, access, notice);
}

function personOf(user: User): Person {
  const name = displayName(user);
  const { email } = user.claims;
  return { name, username: user.username, initial: initialOf(name), ...(email !== undefined && { email }) };
}

const MOMENT = new Intl.DateTimeFormat('en', { dateStyle: 'long', timeStyle: 'short', timeZone: 'UTC' });

function momentOf(time: Date): Moment {
  return { iso: time.toISOString(), text: `${MOMENT.format(time)} UTC` };
}
