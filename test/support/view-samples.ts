/**
 * What every view is rendered with in tests and screenshots: the usual page, its variants, and the texts a page must
 * withstand.
 */
import {
  type AccessGroup,
  type ClientCard,
  errorPage,
  FORM_POST_SCRIPT,
  GO_ON_SCRIPT,
  type Page,
  type Person,
  type Shell,
} from '../../src/protocol/page.ts';

/** A page under the path it is served at; `brand` where it is not the usual one. */
export interface ViewSample {
  readonly id: string;
  readonly page: Page;
  readonly brand?: Shell['brand'];
}

/** Markup and quotes of all kinds: must be seen as these characters, and as nothing else. */
export const HOSTILE = `<script>alert(1)</script>"'\`><img src=x onerror=alert(2)>&lt;`;
/** No space to break at, and longer than any line. */
export const LONG = `Pneumonoultramicroscopic${'photography'.repeat(16)}`;
/** A right-to-left name with an unbalanced override, which must not turn what follows it around. */
export const RTL = 'صور العائلة \u202e123';

const LOGO =
  'data:image/svg+xml,%3Csvg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 40 40"%3E%3Crect width="40" height="40" fill="%23f6c445"/%3E%3Ccircle cx="20" cy="20" r="9" fill="none" stroke="%23222" stroke-width="4"/%3E%3C/svg%3E';
const BRAND_LOGO =
  'data:image/svg+xml,%3Csvg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 60 20"%3E%3Cpath d="M0 20 10 0l10 20zM20 20 30 0l10 20zM40 20 50 0l10 20z" fill="%23c2410c"/%3E%3C/svg%3E';

const alice: Person = { name: 'Alice Liddell', username: 'alice', initial: 'A', email: 'alice@wonderland.example' };
const bob: Person = { name: 'Bob Builder', username: 'bob', initial: 'B' };

const photosWeb: ClientCard = {
  name: 'Photos Web',
  initial: 'P',
  host: 'photos.example',
  siteUrl: 'https://photos.example/',
  policyUrl: 'https://photos.example/privacy',
  termsUrl: 'https://photos.example/terms',
};
const printShop: ClientCard = { name: 'Print Shop', initial: 'P', host: 'print-shop.example', logoUrl: LOGO };
const terminal: ClientCard = { name: 'Photos for the Terminal', initial: 'P' };
const hostile: ClientCard = { ...photosWeb, name: HOSTILE, initial: '<', host: `${'sub.'.repeat(40)}evil.example` };
const longClient: ClientCard = { ...photosWeb, name: LONG, host: `${LONG}.example` };
const rtlClient: ClientCard = { ...photosWeb, name: RTL, initial: 'ص' };

const photos: AccessGroup = {
  name: 'Photos',
  host: 'photos-api.example',
  descriptions: ['See your photos', 'Add and change photos'],
};
const identity: AccessGroup = {
  name: 'Your profile',
  descriptions: ['See your name and picture', 'See your e-mail address'],
};
/** RFC 9396: words with what the client put in for them, and members without words. */
const payments: AccessGroup = {
  name: 'Payments',
  host: 'payments.example',
  descriptions: ['See your payments'],
  details: [
    {
      words: [
        { text: 'Pay ' },
        { text: '123.50', asked: true },
        { text: ' ' },
        { text: 'EUR', asked: true },
        { text: ' to ' },
        { text: 'Merchant A', asked: true },
      ],
      facts: [
        { name: 'reference', value: 'Invoice 7' },
        { name: 'schedule.instalments', value: '3' },
      ],
    },
  ],
};
const prints: AccessGroup = {
  name: 'Prints',
  host: 'prints.example',
  descriptions: [],
  details: [
    {
      words: [{ text: 'Print your album “' }, { text: 'Lisbon', asked: true }, { text: '”' }],
      facts: [{ name: 'actions', value: 'list, order' }],
    },
  ],
};
const hostileDetails: AccessGroup = {
  name: HOSTILE,
  host: `${LONG}.example`,
  descriptions: [],
  details: [
    {
      words: [{ text: 'Pay to ' }, { text: HOSTILE, asked: true }, { text: ' for ' }, { text: RTL, asked: true }],
      facts: [
        { name: HOSTILE, value: LONG },
        { name: LONG, value: RTL },
      ],
    },
    { words: [{ text: 'Send ' }, { text: LONG, asked: true }, { text: ' away' }], facts: [] },
  ],
};
const manyGroups: readonly AccessGroup[] = Array.from({ length: 6 }, (_, group) => ({
  name: `API number ${group + 1}`,
  host: `api-${group + 1}.example`,
  descriptions: Array.from(
    { length: 7 },
    (_, n) => `Read, change and share the things of kind ${n + 1} in your folders`,
  ),
}));

const csrf = 'bXkgY3NyZiB0b2tlbiBmb3IgdGhlIHNhbXBsZXM';
const pending = 'pnd_AZhn1f3YcUq8kV0mJ3o2yQ';

const login = { view: 'login', action: '/login', csrf, username: '', usernameKnown: false } as const;
const request = { pending, cancelAction: '/login/cancel', client: photosWeb } as const;
const consent = {
  view: 'consent',
  action: '/consent',
  csrf,
  pending,
  client: photosWeb,
  person: alice,
  otherUrl: '/select-account?pending=sample',
  access: [identity, photos],
  returnsTo: { host: 'photos.example', onThisDevice: false },
} as const;
const account = {
  view: 'account',
  person: alice,
  csrf,
  removeAction: '/account/remove',
  signOutUrl: '/logout',
  apps: [
    {
      clientId: 'photos-web',
      client: photosWeb,
      grantedAt: { iso: '2026-08-03T09:12:00Z', text: '3 August 2026' },
      access: [identity, photos],
    },
    {
      clientId: 'print-shop',
      client: printShop,
      grantedAt: { iso: '2026-05-21T17:40:00Z', text: '21 May 2026' },
      access: [{ ...photos, descriptions: ['See your photos'] }],
    },
  ],
  signIns: [
    { person: alice, signedInAt: { iso: '2026-08-03T09:11:00Z', text: '3 August 2026, 09:11 UTC' }, current: true },
    { person: bob, signedInAt: { iso: '2026-08-02T20:05:00Z', text: '2 August 2026, 20:05 UTC' }, current: false },
  ],
} as const;
const problem = {
  code: 'invalid_request',
  description: 'The post_logout_redirect_uri is not registered for this client.',
} as const;
const logout = { view: 'logout', action: '/logout', csrf, fields: [], people: [alice], stayUrl: '/account' } as const;

export const viewSamples: readonly ViewSample[] = [
  { id: 'login', page: { ...login, ...request } },
  {
    id: 'login-error',
    page: {
      ...login,
      ...request,
      client: printShop,
      username: 'alice',
      usernameKnown: true,
      error: {
        message: 'This user name and password do not belong together. Check both and try again.',
        usernameInvalid: true,
        passwordInvalid: true,
      },
    },
  },
  {
    id: 'login-again',
    page: {
      ...login,
      ...request,
      username: 'alice',
      usernameKnown: true,
      notice: 'Photos Web asks you to enter your password again.',
    },
  },
  {
    id: 'login-throttled',
    page: {
      ...login,
      username: 'alice',
      usernameKnown: true,
      error: {
        message: 'Too many attempts. Try again in 2 minutes.',
        usernameInvalid: false,
        passwordInvalid: false,
      },
    },
  },
  { id: 'login-account', page: login, brand: { name: 'Northwind', logoUrl: BRAND_LOGO } },
  {
    id: 'login-hostile',
    page: {
      ...login,
      ...request,
      client: hostile,
      username: HOSTILE,
      usernameKnown: true,
      notice: HOSTILE,
      error: { message: HOSTILE, usernameInvalid: false, passwordInvalid: true },
    },
    brand: { name: HOSTILE },
  },
  { id: 'login-long', page: { ...login, ...request, client: longClient, username: LONG }, brand: { name: LONG } },
  {
    id: 'select-account',
    page: {
      view: 'select-account',
      action: '/select-account',
      cancelAction: '/login/cancel',
      csrf,
      pending,
      client: photosWeb,
      accounts: [
        { value: 'sgn_1', person: alice },
        { value: 'sgn_2', person: bob },
      ],
      otherUrl: '/login?pending=sample',
    },
  },
  {
    id: 'select-account-hostile',
    page: {
      view: 'select-account',
      action: '/select-account',
      csrf,
      accounts: [
        { value: HOSTILE, person: { name: HOSTILE, username: LONG, initial: '<' } },
        { value: 'sgn_2', person: { name: RTL, username: 'rtl', initial: 'ص' } },
      ],
      otherUrl: '/login',
    },
  },
  { id: 'consent', page: consent },
  {
    id: 'consent-logo',
    page: {
      ...consent,
      client: printShop,
      access: [{ ...photos, descriptions: ['See your photos'] }],
      returnsTo: { host: 'print-shop.example', onThisDevice: false },
    },
  },
  {
    id: 'consent-device',
    page: { ...consent, client: terminal, returnsTo: { host: '127.0.0.1', onThisDevice: true } },
  },
  { id: 'consent-many', page: { ...consent, client: rtlClient, access: manyGroups } },
  { id: 'consent-details', page: { ...consent, client: printShop, access: [identity, payments, prints] } },
  { id: 'consent-details-hostile', page: { ...consent, client: rtlClient, access: [hostileDetails, payments] } },
  {
    id: 'consent-hostile',
    page: {
      ...consent,
      client: hostile,
      person: { name: HOSTILE, username: HOSTILE, initial: '<' },
      access: [{ name: HOSTILE, host: HOSTILE, descriptions: [HOSTILE, LONG, RTL] }],
      returnsTo: { host: `${'sub.'.repeat(40)}evil.example`, onThisDevice: false },
    },
  },
  {
    id: 'consent-long',
    page: { ...consent, client: longClient, person: { name: LONG, username: LONG, initial: 'P' } },
  },
  { id: 'logout', page: { ...logout, client: photosWeb, fields: [{ name: 'state', value: 'xyz' }] } },
  {
    id: 'logout-hostile',
    page: {
      ...logout,
      client: hostile,
      people: [alice, { name: HOSTILE, username: LONG, initial: '<' }],
      fields: [{ name: 'state', value: HOSTILE }],
    },
  },
  { id: 'logout-plain', page: logout },
  { id: 'logout-logo', page: { ...logout, client: printShop, people: [alice, bob] } },
  { id: 'logout-problem', page: { ...logout, problem } },
  { id: 'logout-long', page: { ...logout, client: longClient } },
  { id: 'logout-problem-hostile', page: { ...logout, problem: { code: HOSTILE, description: HOSTILE } } },
  { id: 'signed-out', page: { view: 'signed-out', signInUrl: '/account' } },
  { id: 'signed-out-plain', page: { view: 'signed-out' } },
  {
    id: 'signed-out-back',
    page: { view: 'signed-out', signInUrl: '/login', back: { client: photosWeb, url: 'https://photos.example/' } },
  },
  {
    id: 'signed-out-hostile',
    page: {
      view: 'signed-out',
      signInUrl: '/login',
      back: { client: hostile, url: 'https://photos.example/?state=%22%3E' },
    },
  },
  {
    id: 'signed-out-long',
    page: { view: 'signed-out', back: { client: longClient, url: 'https://photos.example/' } },
  },
  { id: 'signed-out-problem', page: { view: 'signed-out', signInUrl: '/login', problem } },
  {
    id: 'error',
    page: errorPage(
      400,
      'The app that sent you here asked for an answer at an address it has not registered. Nothing was sent to it.',
      'invalid_request',
    ),
  },
  { id: 'error-not-found', page: errorPage(404, 'No page of this server has this address.') },
  { id: 'error-method', page: errorPage(405, 'Go back and try again from the start.') },
  { id: 'error-throttled', page: errorPage(429, 'Wait a minute, then try again.') },
  {
    id: 'error-unavailable',
    page: errorPage(503, 'The server is starting or busy. Try again shortly.', 'temporarily_unavailable'),
  },
  { id: 'error-hostile', page: errorPage(400, HOSTILE, HOSTILE) },
  { id: 'account', page: account },
  {
    id: 'account-removed',
    page: { ...account, apps: account.apps.slice(1), notice: 'Photos Web no longer has access to your account.' },
  },
  {
    id: 'account-details',
    page: {
      ...account,
      apps: [
        { ...account.apps[1], access: [photos, payments, prints] },
        { ...account.apps[0], access: [identity] },
        { ...account.apps[0], clientId: 'over', access: [] },
      ],
    },
  },
  {
    id: 'account-details-hostile',
    page: { ...account, apps: [{ ...account.apps[0], clientId: HOSTILE, access: [hostileDetails, payments] }] },
  },
  { id: 'account-empty', page: { ...account, person: bob, apps: [], signIns: account.signIns.slice(1) } },
  {
    id: 'account-hostile',
    page: {
      ...account,
      person: { name: LONG, username: HOSTILE, initial: '<', email: `${LONG}@example.com` },
      notice: HOSTILE,
      apps: [
        { ...account.apps[0], clientId: HOSTILE, client: hostile, access: manyGroups },
        { ...account.apps[1], client: longClient, access: [{ name: LONG, descriptions: [HOSTILE, RTL] }] },
        { ...account.apps[1], clientId: 'rtl', client: rtlClient },
      ],
      signIns: [{ ...account.signIns[0], person: { name: HOSTILE, username: LONG, initial: '<' } }],
    },
  },
  { id: 'home', page: { view: 'home', accountUrl: '/account' } },
  { id: 'home-signed-in', page: { view: 'home', accountUrl: '/account', person: alice } },
];

/** A form-post page sends itself, so it is kept out of the list: tests of one page must not end on another. */
export function formPostSample(action: string, host: string): ViewSample {
  return {
    id: 'form-post',
    page: {
      view: 'form-post',
      action,
      host,
      fields: [
        { name: 'code', value: 'cod_AZhn1f3Y' },
        { name: 'state', value: HOSTILE },
        { name: 'iss', value: 'https://id.example' },
      ],
      script: FORM_POST_SCRIPT,
    },
  };
}

/** The same of a page that goes on by itself. */
export function frontchannelLogoutSample(frames: readonly string[], continueUrl: string): ViewSample {
  return {
    id: 'frontchannel-logout',
    page: {
      view: 'frontchannel-logout',
      frames,
      continueUrl,
      client: photosWeb,
      refresh: `1;url=${continueUrl}`,
      script: GO_ON_SCRIPT,
    },
  };
}
