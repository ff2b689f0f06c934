//! Devices without a browser that ask to be let in (RFC 8628): a device shows a code, and somebody who is signed in says
//! elsewhere that it is theirs.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use sea_orm::sea_query::Expr;
use sea_orm::{
    ActiveValue::Set, ColumnTrait as _, Condition, ConnectionTrait, EntityTrait as _,
    PaginatorTrait as _, QueryFilter as _,
};

use crate::accounts::is_taken;
use crate::entities::device_sign_ins::{ActiveModel, Column, Entity};
use crate::{Catalog, DeviceCode, Error, timestamp};

/// How many devices may wait at once, in the whole store: anybody can ask.
const MAX_WAITING: u64 = 1_000;

/// Letters of what people type. No vowels, so that they are no words; none looks like another (RFC 8628, 6.1).
const ALPHABET: &[u8; 20] = b"BCDFGHJKLMNPQRSTVWXZ";
const HALF: usize = 4;

/// What a device shows, and a person types: 34 bits, for some minutes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserCode([u8; 2 * HALF]);

impl UserCode {
    /// Makes a new one.
    ///
    /// # Errors
    /// [`Error::Random`] when the operating system gives no random bytes.
    pub fn random() -> Result<Self, Error> {
        let mut letters = [0; 2 * HALF];
        for letter in &mut letters {
            *letter = loop {
                let mut byte = [0];
                getrandom::fill(&mut byte).map_err(|source| Error::Random {
                    source: Box::new(source),
                })?;
                // 240 is the last multiple of 20 in a byte: all letters are equally likely.
                if byte[0] < 240 {
                    break ALPHABET[usize::from(byte[0]) % ALPHABET.len()];
                }
            };
        }
        Ok(Self(letters))
    }
}

impl fmt::Display for UserCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, letter) in self.0.iter().enumerate() {
            if index == HALF {
                f.write_str("-")?;
            }
            write!(f, "{}", char::from(*letter))?;
        }
        Ok(())
    }
}

/// As people write it: in any case, with or without a dash or spaces.
impl FromStr for UserCode {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let letters: Vec<u8> = text
            .bytes()
            .filter(|letter| !matches!(letter, b'-' | b' '))
            .map(|letter| letter.to_ascii_uppercase())
            .collect();
        if !letters.iter().all(|letter| ALPHABET.contains(letter)) {
            return Err(Error::InvalidId);
        }
        letters.try_into().map(Self).map_err(|_| Error::InvalidId)
    }
}

/// A device that asks.
#[derive(Debug, Clone)]
pub struct NewDevice {
    /// The secret by which the device asks how it stands. Only a hash of it is stored.
    pub code: DeviceCode,
    /// What it shows.
    pub user_code: UserCode,
    /// What it says it is.
    pub device: String,
    /// Until when somebody may answer.
    pub expires_at: DateTime<Utc>,
}

/// What has become of a device that asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeviceAnswer {
    /// Nobody has answered yet.
    Pending,
    /// Somebody said that it is none of theirs.
    Denied,
    /// It is this account's. Told once.
    Granted {
        /// The account.
        account: String,
        /// What the device said it is.
        device: String,
    },
    /// It asked too long ago, has been told, or has never asked.
    Gone,
}

impl Catalog {
    /// Lets a device wait for an answer. False when too many do already, or by a chance of one in millions its code is taken.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn create_device(
        &self,
        device: &NewDevice,
        now: DateTime<Utc>,
    ) -> Result<bool, Error> {
        let failed = || Error::database("let a device ask");
        let NewDevice {
            code,
            user_code,
            device,
            expires_at,
        } = device;
        sweep(&self.database, now).await?;
        if Entity::find()
            .count(&self.database)
            .await
            .map_err(failed())?
            >= MAX_WAITING
        {
            return Ok(false);
        }
        let row = ActiveModel {
            code_hash: Set(code.hash()),
            user_code: Set(user_code.to_string()),
            device: Set(device.clone()),
            account: Set(None),
            denied: Set(false),
            expires_at_ms: Set(timestamp::to_column(*expires_at)),
        };
        match Entity::insert(row)
            .exec_without_returning(&self.database)
            .await
        {
            Ok(_) => Ok(true),
            Err(error) if is_taken(&error) => Ok(false),
            Err(error) => Err(failed()(error)),
        }
    }

    /// What the device says it is that shows this code and waits.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn device(
        &self,
        user_code: &UserCode,
        now: DateTime<Utc>,
    ) -> Result<Option<String>, Error> {
        let found = Entity::find()
            .filter(waiting(user_code, now))
            .one(&self.database)
            .await
            .map_err(Error::database("look for a device"))?;
        Ok(found.map(|row| row.device))
    }

    /// Says that the device which shows this code is an account's, or nobody's. False when none waits with it (any more).
    ///
    /// # Errors
    /// When the database fails.
    pub async fn answer_device(
        &self,
        user_code: &UserCode,
        account: Option<&str>,
        now: DateTime<Utc>,
    ) -> Result<bool, Error> {
        let answered = Entity::update_many()
            .col_expr(Column::Account, Expr::value(account.map(str::to_owned)))
            .col_expr(Column::Denied, Expr::value(account.is_none()))
            .filter(waiting(user_code, now))
            .exec(&self.database)
            .await
            .map_err(Error::database("answer a device"))?;
        Ok(answered.rows_affected > 0)
    }

    /// Tells a device how it stands. Of several that ask with one code at once, one is told that it is granted.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn claim_device(
        &self,
        code: &DeviceCode,
        now: DateTime<Utc>,
    ) -> Result<DeviceAnswer, Error> {
        let failed = || Error::database("tell a device how it stands");
        let found = Entity::find_by_id(code.hash())
            .one(&self.database)
            .await
            .map_err(failed())?;
        let Some(found) = found.filter(|row| row.expires_at_ms > timestamp::to_column(now)) else {
            return Ok(DeviceAnswer::Gone);
        };
        if found.account.is_none() && !found.denied {
            return Ok(DeviceAnswer::Pending);
        }
        let deleted = Entity::delete_by_id(&found.code_hash)
            .exec(&self.database)
            .await
            .map_err(failed())?;
        Ok(match found.account {
            _ if deleted.rows_affected == 0 => DeviceAnswer::Gone,
            Some(account) => DeviceAnswer::Granted {
                account,
                device: found.device,
            },
            None => DeviceAnswer::Denied,
        })
    }
}

/// Forgets the devices that nobody has let in in time, and those that have not asked again since.
pub(crate) async fn sweep(
    database: &impl ConnectionTrait,
    now: DateTime<Utc>,
) -> Result<(), Error> {
    Entity::delete_many()
        .filter(Column::ExpiresAtMs.lte(timestamp::to_column(now)))
        .exec(database)
        .await
        .map_err(Error::database("forget devices"))?;
    Ok(())
}

/// The one that shows this code, while nobody has answered.
fn waiting(user_code: &UserCode, now: DateTime<Utc>) -> Condition {
    Condition::all()
        .add(Column::UserCode.eq(user_code.to_string()))
        .add(Column::ExpiresAtMs.gt(timestamp::to_column(now)))
        .add(Column::Account.is_null())
        .add(Column::Denied.eq(false))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_read_as_people_write_it() {
        for text in ["BCDF-GHJK", "bcdfghjk", " bcdf  ghjk ", "b-c-d-f-g-h-j-k"] {
            let code: UserCode = text.parse().expect(text);
            assert_eq!(code.to_string(), "BCDF-GHJK", "{text}");
        }
        for text in [
            "",
            "BCDF-GHJ",
            "BCDF-GHJKL",
            "ACDF-GHJK",
            "BCDF-GHJ\u{212a}",
            "BCDF_GHJK",
        ] {
            assert!(text.parse::<UserCode>().is_err(), "{text}");
        }
        let code = UserCode::random().expect("random bytes");
        assert_eq!(code.to_string().parse::<UserCode>().expect("itself"), code);
    }
}
