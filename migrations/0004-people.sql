-- Owner: src/postgres/people.pg.ts. OpenID Connect Core §5.1.
CREATE TABLE users (
  id uuid PRIMARY KEY,
  username text NOT NULL,
  -- NFKC, lower case: two names that look the same are one.
  username_key text NOT NULL UNIQUE,
  email_key text UNIQUE,
  password_hash text NOT NULL,
  claims jsonb NOT NULL,
  -- Raised when everything given out in this person's name shall end (new password, disabled). A counter, not a time:
  -- clocks of nodes differ.
  epoch integer NOT NULL DEFAULT 0,
  created_at timestamptz NOT NULL,
  updated_at timestamptz NOT NULL,
  disabled_at timestamptz
);

-- Made only by `gatehouse dev`; `serve` refuses a database that holds it.
CREATE TABLE demo_data (
  only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
  created_at timestamptz NOT NULL
);

-- Owner: src/features/login/attempts.pg.ts. Failures in a fixed window, by source, by account and by known browser;
-- keys are digests.
CREATE TABLE sign_in_attempts (
  key bytea PRIMARY KEY,
  window_start timestamptz NOT NULL,
  failures integer NOT NULL
);
CREATE INDEX sign_in_attempts_window_start ON sign_in_attempts (window_start);
