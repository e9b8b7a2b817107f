//! Questions about what does not exist here, answered truthfully: ACLs, quotas, SCRAM credentials,
//! transactions. Tools ask them on their way to something else and bear "none".

use esker_kafka::messages::describe_transactions_response::TransactionState;
use esker_kafka::messages::{
    DescribeAclsResponse, DescribeClientQuotasResponse, DescribeTransactionsRequest,
    DescribeTransactionsResponse, DescribeUserScramCredentialsRequest,
    DescribeUserScramCredentialsResponse, ListTransactionsRequest, ListTransactionsResponse,
    StrBytes, describe_user_scram_credentials_response as scram_response,
};
use esker_kafka::{Request, Response};

use crate::error::Absent;
use crate::reply;

/// Every state that a transaction can have in Kafka: other words are told to be unknown.
const TRANSACTION_STATES: [&str; 8] = [
    "Empty",
    "Ongoing",
    "PrepareCommit",
    "PrepareAbort",
    "CompleteCommit",
    "CompleteAbort",
    "PrepareEpochFence",
    "Dead",
];

/// `None` for a request that is about something else.
pub(crate) fn answer(request: Request) -> Option<Response> {
    match request {
        Request::DescribeAcls(_) => Some(Response::DescribeAcls(acls())),
        Request::DescribeClientQuotas(_) => Some(Response::DescribeClientQuotas(quotas())),
        Request::DescribeUserScramCredentials(request) => Some(
            Response::DescribeUserScramCredentials(scram_credentials(request)),
        ),
        Request::DescribeTransactions(request) => {
            Some(Response::DescribeTransactions(transactions(request)))
        }
        Request::ListTransactions(request) => {
            Some(Response::ListTransactions(no_transactions(request)))
        }
        _ => None,
    }
}

fn acls() -> DescribeAclsResponse {
    DescribeAclsResponse::default()
        .with_error_code(reply::absent(Absent::Authorizer).code())
        .with_error_message(Some(reply::words(&Absent::Authorizer)))
}

fn quotas() -> DescribeClientQuotasResponse {
    DescribeClientQuotasResponse::default()
        .with_error_message(None)
        .with_entries(Some(Vec::new()))
}

/// Null and an empty list both mean all users, of whom there are none.
fn scram_credentials(
    request: DescribeUserScramCredentialsRequest,
) -> DescribeUserScramCredentialsResponse {
    let users = request.users.unwrap_or_default();
    let results = users.into_iter().map(|user| {
        scram_response::DescribeUserScramCredentialsResult::default()
            .with_user(user.name)
            .with_error_code(reply::absent(Absent::User).code())
            .with_error_message(Some(reply::words(&Absent::User)))
    });
    DescribeUserScramCredentialsResponse::default()
        .with_error_message(None)
        .with_results(results.collect())
}

fn transactions(request: DescribeTransactionsRequest) -> DescribeTransactionsResponse {
    let one = |id| {
        TransactionState::default()
            .with_transactional_id(id)
            .with_error_code(reply::absent(Absent::Transaction).code())
    };
    let states = request.transactional_ids.into_iter().map(one).collect();
    DescribeTransactionsResponse::default().with_transaction_states(states)
}

fn no_transactions(request: ListTransactionsRequest) -> ListTransactionsResponse {
    let is_unknown = |word: &StrBytes| !TRANSACTION_STATES.contains(&word.as_str());
    let unknown = request.state_filters.into_iter().filter(is_unknown);
    ListTransactionsResponse::default().with_unknown_state_filters(unknown.collect())
}
