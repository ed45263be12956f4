"""The models of requests and responses about second factors."""

from typing import Annotated

from msgspec import Meta
from pydantic import Field, SecretStr

from ledger.identity.passwords import MAX_PASSWORD_LENGTH
from web.body import Body, describe
from web.response_fields import Answer

MAX_OTP_LENGTH = 64

Otp = Annotated[
    SecretStr,
    Field(max_length=MAX_OTP_LENGTH, description="The code of the user's application, or a recovery code"),
]
PresentPassword = Annotated[SecretStr, Field(max_length=MAX_PASSWORD_LENGTH)]


class Enrolment(Body):
    """`POST /users/me/totp/enrol`."""

    model_config = describe({"current_password": "through the looking-glass"})

    current_password: PresentPassword


class Confirmation(Body):
    """`POST /users/me/totp/confirm`."""

    model_config = describe({"otp": "123456"})

    otp: Otp


class Removal(Body):
    """`POST /users/me/totp/remove`."""

    model_config = describe({"current_password": "through the looking-glass", "otp": "123456"})

    current_password: PresentPassword
    otp: Otp


class OfferedSecondFactor(Answer, frozen=True):
    """The secret of a second factor, which is shown only once. It is in force after it is confirmed."""

    secret: Annotated[str, Meta(description="In base32 (RFC 4648)", examples=["JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"])]
    otpauth_uri: Annotated[
        str,
        Meta(
            description="For the QR code that applications read",
            examples=["otpauth://totp/Ledger%3Aalice?secret=JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP&issuer=Ledger"],
        ),
    ]


class ConfirmedSecondFactor(Answer, frozen=True):
    """Codes for users who have lost their device. They are shown only once, and each works once."""

    recovery_codes: Annotated[list[str], Meta(examples=[["JBSW-Y3DP-EHPK-3PXP-JBSW-Y3DP-EHPK"]])]


class SecondFactorStatus(Answer, frozen=True):
    """Whether logins of a user need a second factor, and how many recovery codes are left."""

    enabled: bool
    recovery_codes_left: Annotated[int, Meta(ge=0, examples=[10])]
