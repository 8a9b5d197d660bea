/** A world with two APIs that understand authorization details (RFC 9396), and clients that may ask for them. */
import { authorizePath, decide, pkce, post, responseOf, signIn, TestBrowser, type Visit } from './browser.ts';
import type { TestServerOptions } from './server.ts';
import { startWorld, type World } from './world.ts';

export const PAYMENTS = 'https://payments.example';
export const PRINTS = 'https://prints.example';
export const SHOP_REDIRECT = 'https://shop.example/callback';

export const PAYMENT_TYPE = {
  description: 'Pay {amount.value} {amount.currency} to {creditor}',
  schema: {
    type: 'object',
    properties: {
      amount: {
        type: 'object',
        properties: {
          value: { type: 'string', maxLength: 20, pattern: String.raw`^\d+\.\d{2}$` },
          currency: { type: 'string', enum: ['EUR', 'USD'] },
        },
        required: ['value', 'currency'],
        additionalProperties: false,
      },
      creditor: { type: 'string', minLength: 1, maxLength: 70 },
      reference: { type: 'string', maxLength: 140 },
      instalments: { type: 'integer', minimum: 1 },
    },
    required: ['amount', 'creditor'],
    additionalProperties: false,
  },
};

const actions = { type: 'array', items: { type: 'string', enum: ['list', 'order', 'cancel'] }, minItems: 1 };

export const PRINT_TYPE = {
  description: 'Print your album “{album}”',
  schema: {
    type: 'object',
    properties: { album: { type: 'string' }, actions },
    required: ['album'],
    additionalProperties: false,
  },
};

export const PAYMENT = {
  type: 'payment',
  amount: { value: '123.50', currency: 'EUR' },
  creditor: 'Merchant A',
};
export const PRINT = { type: 'photo_print', album: 'Lisbon', actions: ['list', 'order'] };

export interface PaymentsWorld extends World {
  readonly shop: { id: string; secret: string };
  /** Acts for itself. */
  readonly robot: { id: string; secret: string };
  readonly paymentsApi: { id: string; secret: string };
  readonly printsApi: { id: string; secret: string };
}

export async function startPaymentsWorld(options: TestServerOptions = {}): Promise<PaymentsWorld> {
  const world = await startWorld(options);
  const paymentsApi = await world.client({ client_id: 'payments-api', grant_types: [] });
  const printsApi = await world.client({ client_id: 'prints-api', grant_types: [] });
  await world.resource({
    resource: PAYMENTS,
    name: 'Payments',
    scopes: { 'payments.read': 'See your payments' },
    access_token_format: 'opaque',
    introspection_clients: ['payments-api'],
    authorization_details_types: { payment: PAYMENT_TYPE },
  });
  await world.resource({
    resource: PRINTS,
    name: 'Prints',
    scopes: {},
    access_token_format: 'jwt',
    introspection_clients: ['prints-api'],
    authorization_details_types: { photo_print: PRINT_TYPE },
  });
  const authorization_details_types = ['payment', 'photo_print'];
  const shop = await world.client({
    client_id: 'shop',
    client_name: 'Shop',
    redirect_uris: [SHOP_REDIRECT],
    grant_types: ['authorization_code', 'refresh_token'],
    scope: 'openid photos.read payments.read',
    authorization_details_types,
  });
  const robot = await world.client({
    client_id: 'robot',
    grant_types: ['client_credentials'],
    scope: 'payments.read',
    authorization_details_types,
  });
  return { ...world, shop, robot, paymentsApi, printsApi };
}

export interface Asking {
  readonly details?: unknown;
  readonly scope?: string | undefined;
  readonly browser?: TestBrowser;
  readonly parameters?: Record<string, string>;
}

/** The shop's authorization request, as far as it goes without a consent. */
export async function ask(
  world: PaymentsWorld,
  { details, scope, browser = new TestBrowser(world), parameters }: Asking,
) {
  const { verifier, challenge } = pkce();
  const path = authorizePath({
    client_id: world.shop.id,
    redirect_uri: SHOP_REDIRECT,
    scope,
    code_challenge: challenge,
    authorization_details: typeof details === 'string' || details === undefined ? details : JSON.stringify(details),
    ...parameters,
  });
  let page: Visit = await browser.visit(path);
  if (page.url.includes('/login')) page = await signIn(browser, page);
  return { page, browser, verifier };
}

/** The error such a request is answered with. */
export async function refusalOf(world: PaymentsWorld, asking: Asking): Promise<string | null> {
  return responseOf((await ask(world, asking)).page).get('error');
}

export async function codeFor(world: PaymentsWorld, asking: Asking) {
  const { page, browser, verifier } = await ask(world, asking);
  const answered = page.url.includes('/consent') ? await decide(browser, page) : page;
  const code = responseOf(answered).get('code');
  if (code === null) throw new Error(`no code: ${answered.location}`);
  return { code, verifier, browser };
}

export async function redeemShop(world: PaymentsWorld, asking: Asking, extra: Record<string, string> = {}) {
  const { code, verifier: code_verifier } = await codeFor(world, asking);
  return shopToken(world, {
    grant_type: 'authorization_code',
    code,
    code_verifier,
    redirect_uri: SHOP_REDIRECT,
    ...extra,
  });
}

export function refreshShop(world: PaymentsWorld, token: unknown, extra: Record<string, string> = {}) {
  return shopToken(world, { grant_type: 'refresh_token', refresh_token: String(token), ...extra });
}

function shopToken(world: PaymentsWorld, fields: Record<string, string>) {
  return post(`${world.issuer}/token`, fields, { basic: world.shop });
}

/** The parameter, written out. */
export const asked = (...details: unknown[]) => ({ authorization_details: JSON.stringify(details) });
