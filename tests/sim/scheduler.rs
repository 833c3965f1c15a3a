//! The scheduler: starts jobs that are due, lets one job perform its next I/O, kills processes, and advances the clock.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use crate::actions::{Action, tenant};
use crate::simulation::Simulation;
use crate::world::{Callback, FEEDS};
use crate::{MAX_RECEIVES, VISIBILITY_MS};
use domain::ports::{CommunicationKey, UnmatchedRetry};
use events::{CommunicationId, StreamId};

/// A unit of work of one function.
#[derive(Debug, Clone)]
pub enum Job {
    ApiCall(Action),
    Deliver {
        messages: Vec<u64>,
    },
    /// The oldest records of one shard of the table's change stream.
    Project {
        shard: usize,
        count: usize,
    },
    DeadLetter {
        id: StreamId,
    },
    CallBack(Callback),
    /// Tries again to match delivery reports whose message was unknown.
    RetryUnmatched(UnmatchedRetry),
    Sweep,
    /// The first work of the only process after a restart.
    Resume,
}

/// How a job ended.
pub enum TaskResult {
    Done,
    /// The job failed. The caller, the queue or the provider retries it.
    Retry,
    /// The messages of a batch to be delivered again.
    RetryItems(Vec<String>),
    Accepted(CommunicationId),
}

pub struct Task {
    pub job: Job,
    pub future: Pin<Box<dyn Future<Output = TaskResult>>>,
    pub resume_at: i64,
    pub deadline: i64,
}

impl Job {
    pub fn function_name(&self) -> &'static str {
        match self {
            Job::ApiCall(_) => "api",
            Job::Deliver { .. } => "deliver",
            Job::DeadLetter { .. } => "dead-letter",
            Job::CallBack(_) | Job::RetryUnmatched(_) => "webhook",
            Job::Sweep => "schedule",
            Job::Resume => "resume",
            Job::Project { .. } => "project",
        }
    }
}

impl Simulation {
    /// Starts every job that is due.
    pub fn start_due(&mut self, now: i64) {
        if let Some(at) = self.restarts.first().copied().filter(|at| *at <= now) {
            self.restarts.retain(|restart| at < *restart);
            self.restart(now);
        }
        let due: Vec<_> = self.actions.extract_if(.., |(at, _)| *at <= now).collect();
        due.into_iter().for_each(|(_, action)| self.start(Job::ApiCall(action)));
        let called: Vec<Callback> =
            self.world.state().callbacks.extract_if(.., |callback| callback.at <= now).collect();
        called.into_iter().for_each(|callback| self.start(Job::CallBack(callback)));
        let waiting: Vec<_> = self.world.state().unmatched.extract_if(.., |(at, _)| *at <= now).collect();
        waiting.into_iter().for_each(|(_, retry)| self.start(Job::RetryUnmatched(retry)));
        if self.next_tick <= now {
            self.next_tick = now + 60_000;
            self.start(Job::Sweep);
        }
        let mut received = Vec::new();
        // The workers of a process that was restarted wait until its unfinished work is resumed.
        if !self.tasks.iter().any(|task| matches!(task.job, Job::Resume)) {
            let mut guard = self.world.state();
            let state = &mut *guard;
            for message in state.messages.iter_mut().filter(|message| message.visible_at <= now) {
                message.receives += 1;
                // Queues deliver at least once: sometimes a message is delivered again while it is being processed.
                let is_hidden = !state.faults || !state.rng.percent(2);
                message.visible_at = now + if is_hidden { VISIBILITY_MS } else { 50 };
                received.push(message.clone());
            }
            state.messages.retain(|message| message.receives <= MAX_RECEIVES);
        }
        let (alive, dead): (Vec<_>, Vec<_>) =
            received.into_iter().partition(|message| message.receives <= MAX_RECEIVES);
        dead.into_iter().for_each(|message| self.start(Job::DeadLetter { id: message.hint.stream }));
        for batch in alive.chunks(self.batch) {
            self.start(Job::Deliver { messages: batch.iter().map(|message| message.id).collect() });
        }
        for shard in 0..FEEDS {
            let busy = |task: &Task| matches!(task.job, Job::Project { shard: at, .. } if at == shard);
            let count = self.world.state().feed[shard].len().min(20);
            if count > 0 && !self.tasks.iter().any(busy) {
                self.start(Job::Project { shard, count });
            }
        }
    }

    /// Lets a task perform its next I/O, or kills it.
    pub fn step(&mut self, chosen: usize, now: i64) {
        self.steps += 1;
        let (killed, stalls) = {
            let mut guard = self.world.state();
            let state = &mut *guard;
            let killed = state.faults && state.rng.below(400) == 0;
            state.resume_at = now;
            (killed, state.faults && state.rng.below(60) == 0)
        };
        if killed || self.tasks[chosen].deadline <= now {
            self.kills += 1;
            let task = self.tasks.swap_remove(chosen);
            self.finish(task.job, TaskResult::Retry);
            return;
        }
        let task = &mut self.tasks[chosen];
        self.world.state().function_name = task.job.function_name();
        match task.future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Pending => task.resume_at = self.world.state().resume_at,
            Poll::Ready(end) => {
                let task = self.tasks.swap_remove(chosen);
                self.finish(task.job, end);
            }
        }
        if std::mem::take(&mut self.world.state().killed) {
            self.kills += 1;
            let task = self.tasks.swap_remove(chosen);
            self.finish(task.job, TaskResult::Retry);
        }
        if stalls {
            let mut guard = self.world.state();
            let state = &mut *guard;
            let max_ms = if state.rng.percent(5) { 40_000 } else { 1_500 };
            state.now += state.rng.below(max_ms) as i64;
        }
    }

    /// Kills everything, loses the queues, and starts again, as the only process does.
    fn restart(&mut self, now: i64) {
        self.check_timers_ahead();
        self.kills += 1;
        for task in std::mem::take(&mut self.tasks) {
            self.finish(task.job, TaskResult::Retry);
        }
        self.tasks.clear();
        {
            let mut state = self.world.state();
            state.messages.clear();
            let ahead = state.streams.iter().filter_map(|(id, (stream, ..))| {
                let wake = stream.wake.filter(|wake| now < wake.0)?;
                Some((id.clone(), (stream.version, wake)))
            });
            self.timers_ahead = ahead.collect();
        }
        self.start(Job::Resume);
    }

    /// I15: a restart moves no timer that lies ahead.
    fn check_timers_ahead(&mut self) {
        let state = self.world.state();
        for (id, (version, wake)) in std::mem::take(&mut self.timers_ahead) {
            let (stream, ..) = &state.streams[&id];
            if stream.version == version && stream.wake != Some(wake) {
                self.violation = Some(format!("I15: a restart moved the timer of {id}"));
            }
        }
    }

    fn finish(&mut self, job: Job, end: TaskResult) {
        let now = self.world.state().now;
        match (job, end) {
            (Job::ApiCall(Action::Send { n, .. } | Action::Resend { copy: n, .. }), TaskResult::Accepted(id)) => {
                let key = CommunicationKey { tenant: tenant(n), id };
                let before = self.accepted.insert(n, key.clone());
                assert!(before.is_none_or(|before| before == key), "each idempotency key gets its own communication");
            }
            (Job::ApiCall(action), TaskResult::Retry) => self.actions.push((now + 2_000, action)),
            (Job::Deliver { messages }, TaskResult::RetryItems(failed_ids)) => {
                let done = |id: u64| messages.contains(&id) && !failed_ids.contains(&id.to_string());
                self.world.state().messages.retain(|waiting| !done(waiting.id));
            }
            (Job::Project { shard, count }, TaskResult::Done) => {
                self.world.state().feed[shard].drain(..count);
            }
            (Job::DeadLetter { id }, TaskResult::Retry) => {
                self.start(Job::DeadLetter { id });
                self.tasks.iter_mut().next_back().expect("a task that was just started").resume_at = now + 5_000;
            }
            (Job::CallBack(callback), TaskResult::Retry) => {
                self.world.state().callbacks.push(Callback { at: now + 5_000, ..callback });
            }
            (Job::Resume, TaskResult::Done) => self.check_timers_ahead(),
            (Job::RetryUnmatched(retry), TaskResult::Retry) => self.world.state().unmatched.push((now + 60_000, retry)),
            _ => (),
        }
    }

    /// Advances the clock to the next time when a task can run.
    pub fn wait(&mut self) {
        let mut state = self.world.state();
        let tasks = self.tasks.iter().map(|task| task.resume_at);
        let actions = self.actions.iter().map(|(at, _)| *at);
        let queues = state.messages.iter().map(|message| message.visible_at);
        let callbacks = state.callbacks.iter().map(|callback| callback.at);
        let unmatched = state.unmatched.iter().map(|(at, _)| *at);
        let waits = tasks.chain(actions).chain(queues).chain(callbacks).chain(unmatched);
        let next = waits.chain(self.restarts.first().copied()).chain([self.next_tick]).min();
        state.now = next.unwrap_or(self.next_tick).max(state.now + 1);
    }
}
