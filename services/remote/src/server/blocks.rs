//! Questions of other processes for blocks.

use crate::blocks::BlockSource;
use crate::convert::Malformed;
use crate::proto;

pub(super) async fn read_block(
    source: &dyn BlockSource,
    question: proto::BlockRequest,
) -> Result<proto::BlockReply, Malformed> {
    let question = question.try_into()?;
    Ok(source.read(question).await.into())
}
